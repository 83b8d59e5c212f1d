import json
import logging
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch.nn import functional as F

from ram_model.config import RamConfig, variant
from ram_model.errors import LabelError
from ram_model.words import label_embeddings
from ram_model.words.label_embeddings import LabelSource, embed_words, find_label_source
from ram_model.words.prompts import write_prompts
from ram_model.words.text_encoder import load_text_encoder
from tests.model.tiny_clip import write_text_encoder

RAM = variant("tiny", num_tags=3)
RAM_PLUS = variant("tiny", kind="ram_plus", num_tags=3)
TEMPLATES = ("a photo of {article} {}.", "my {}.")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A model folder's labels side, and a user cache of the test's own."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "model"
    folder.mkdir()
    write_text_encoder(folder)
    (folder / "templates.txt").write_text("\n".join(TEMPLATES))
    yield folder
    folder.chmod(stat.S_IRWXU)


def _source(folder: Path, **options: Path) -> LabelSource:
    source = find_label_source(folder, **options)
    assert source is not None
    return source


def _cached(folder: Path) -> list[str]:
    return sorted(path.name for path in (folder / "label_cache").glob("*"))


def test_ram_gets_the_mean_of_unit_vectors_made_a_unit_vector(folder: Path) -> None:
    rows = embed_words(_source(folder), RAM, ["ibex", "fox"])
    assert list(rows) == ["ibex", "fox"]
    encoder = load_text_encoder(folder / "text_encoder")
    each = encoder.encode(["This is a photo of an ibex.", "my ibex."])
    assert torch.allclose(each.norm(dim=1), torch.ones(2))
    mean = each.sum(0) / 2
    assert torch.allclose(rows["ibex"], (mean / mean.norm())[None], atol=1e-6)
    assert not torch.allclose(rows["ibex"], F.normalize(encoder.encode(["ibex"])), atol=1e-2)


def test_ram_plus_gets_descriptions_or_every_prompt(folder: Path) -> None:
    described = [{"fox": ["A red animal.", "It hunts at night.", "It is " + "very " * 90 + "shy."]}]
    (folder / "descriptions.json").write_text(json.dumps(described))
    rows = embed_words(_source(folder), RAM_PLUS, ["fox", "ibex"])
    encoder = load_text_encoder(folder / "text_encoder")
    assert torch.equal(rows["fox"], encoder.encode(described[0]["fox"]))
    assert torch.equal(rows["ibex"], encoder.encode(write_prompts("ibex", TEMPLATES)))
    assert (len(rows["fox"]), len(rows["ibex"])) == (3, 2)


def test_without_templates_open_clips_are_used_and_named(folder: Path) -> None:
    assert _source(folder).templates_note == "2 templates of templates.txt"
    (folder / "templates.txt").unlink()
    assert _source(folder).templates_note == "80 templates of open_clip"
    assert len(embed_words(_source(folder), RAM_PLUS, ["fox"])["fox"]) == 80


def test_second_call_reads_the_cache(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = embed_words(_source(folder), RAM, ["fox", "ibex"])
    assert len(_cached(folder)) == 2

    def no_encoder(*_: object) -> None:
        raise AssertionError("the text encoder was loaded again")

    monkeypatch.setattr(label_embeddings, "load_text_encoder", no_encoder)
    second = embed_words(_source(folder), RAM, ["fox", "ibex"])
    assert all(torch.equal(first[word], second[word]) for word in first)
    with pytest.raises(AssertionError, match="loaded again"):
        embed_words(_source(folder), RAM, ["fox", "yak"])


@pytest.mark.parametrize("change", ["kind", "templates", "descriptions", "encoder", "order"])
def test_cache_key_holds_everything_the_labels_depend_on(folder: Path, change: str) -> None:
    words, config = ["fox", "ibex"], RAM_PLUS
    before = _source(folder).fingerprint(config, words)
    if change == "kind":
        config = RAM
    elif change == "templates":
        (folder / "templates.txt").write_text("just {}.")
    elif change == "descriptions":
        (folder / "descriptions.json").write_text('[{"ibex": ["A goat."]}]')
    elif change == "encoder":
        (folder / "text_encoder" / "config.json").write_text("{}")
    else:
        words = words[::-1]
    assert _source(folder).fingerprint(config, words) != before


def test_damaged_cache_is_made_again(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    first = embed_words(_source(folder), RAM, ["fox"])
    (name,) = _cached(folder)
    (folder / "label_cache" / name).write_bytes(b"half a fi")
    again = embed_words(_source(folder), RAM, ["fox"])
    assert torch.equal(first["fox"], again["fox"])
    assert "is damaged and made again" in caplog.text
    assert (folder / "label_cache" / name).stat().st_size > 512


def test_folder_that_cannot_be_written_is_cached_elsewhere(
    folder: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (folder / "label_cache").write_bytes(b"")  # not a folder: also root cannot write into it
    with caplog.at_level(logging.WARNING):
        embed_words(_source(folder), RAM, ["fox"])
    (cached,) = (tmp_path / "cache" / "ram-ray" / "label_cache").iterdir()
    assert cached.suffix == ".safetensors"
    assert f"label embeddings are in {cached.parent}" in caplog.text
    assert len(embed_words(_source(folder), RAM, ["fox"])) == 1


def test_no_text_encoder_is_none_and_a_wrong_one_is_refused(folder: Path, tmp_path: Path) -> None:
    assert find_label_source(None) is None
    assert find_label_source(tmp_path) is None
    assert find_label_source(None, text_encoder=folder / "text_encoder") is not None
    narrow = RamConfig(
        kind="ram",
        image_encoder=RAM.image_encoder,
        tag_decoder=RAM.tag_decoder,
        num_tags=3,
        label_dim=64,
    )
    with pytest.raises(LabelError, match="vectors of 512 numbers, but the model's labels have 64"):
        embed_words(_source(folder), narrow, ["fox"])
    with pytest.raises(LabelError, match="too long for the text encoder"):
        embed_words(_source(folder), RAM, ["fox " * 80])


def test_changed_templates_are_found(folder: Path) -> None:
    sums = {"templates.txt": "0" * 64}
    (folder / "checksums.json").write_text(json.dumps(sums))
    with pytest.raises(LabelError, match=r"templates\.txt is not the file"):
        find_label_source(folder)


def test_lists_share_the_words_they_have_in_common(folder: Path) -> None:
    first = embed_words(_source(folder), RAM, ["fox", "ibex"])
    second = embed_words(_source(folder), RAM, ["owl", "ibex"])
    assert len(_cached(folder)) == 3
    assert list(second) == ["owl", "ibex"]
    assert torch.equal(first["ibex"], second["ibex"])


def test_ever_new_words_do_not_fill_the_disk(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(label_embeddings, "MAX_CACHE_BYTES", 3 * 4096)
    for age, word in enumerate(["fox", "ibex", "owl"]):
        before = set(_cached(folder))
        embed_words(_source(folder), RAM, [word])
        (name,) = set(_cached(folder)) - before
        os.utime(folder / "label_cache" / name, (1_000 + age, 1_000 + age))
    kept = set(_cached(folder))
    embed_words(_source(folder), RAM, ["fox"])  # used again: no longer the oldest
    embed_words(_source(folder), RAM, ["emu"])
    assert len(_cached(folder)) == 3
    assert len(kept & set(_cached(folder))) == 2
    monkeypatch.setattr(label_embeddings, "_embed", lambda *_: pytest.fail("made again"))
    assert list(embed_words(_source(folder), RAM, ["fox", "owl", "emu"])) == ["fox", "owl", "emu"]

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ram_model.config import Kind, variant
from ram_model.errors import CaptionError, CheckpointError, LabelError
from ram_model.files import conversion
from ram_model.files.checkpoint import load_folder, load_official
from ram_model.files.conversion import (
    FolderParts,
    add_parts,
    convert_checkpoint,
    converted_bytes,
    open_checkpoint,
)
from ram_model.files.inspection import inspect_folder
from ram_model.networks.ram import Ram
from ram_model.vocabulary import Vocabulary
from tests.model.official_state import write_checkpoint, write_checkpoint_of
from tests.model.tiny_captions import PIECES, captioning_model, captions_config
from tests.model.tiny_captions import VOCABULARY as CAPTIONED
from tests.model.tiny_clip import tiny_clip

VOCABULARY = Vocabulary(names=("cat", "dog", "sea"), thresholds=np.array([0.5, 0.6, 1.0]))


def _logits(model: Ram) -> Tensor:
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model(images)


@pytest.mark.parametrize("kind", ["ram", "ram_plus"])
def test_folder_and_checkpoint_give_identical_logits(kind: Kind, tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "x.pth", kind)
    facts = convert_checkpoint(open_checkpoint(path), tmp_path / "model", VOCABULARY)

    loaded = load_folder(tmp_path / "model")

    assert torch.equal(_logits(loaded.model), _logits(load_official(path)[0]))
    assert loaded.vocabulary.names == VOCABULARY.names
    assert facts.config == loaded.config == variant("tiny", kind=kind, num_tags=3)
    # neither the optimizer's state nor the dead text side went along
    size = (tmp_path / "model" / "model.safetensors").stat().st_size
    assert 0 < size - converted_bytes(loaded.config) < 20_000


def test_caption_side_is_kept_where_it_is_wanted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversion, "RELEASED_CAPTIONS", captions_config())
    pieces = tmp_path / "vocab.txt"
    pieces.write_text("\n".join(PIECES))
    parts = FolderParts(word_pieces=pieces)
    for kind in ("ram", "tag2text"):
        path = write_checkpoint_of(captioning_model(kind), tmp_path / f"{kind}.pth")
        plain, both = open_checkpoint(path, captions=False), open_checkpoint(path, captions=True)
        assert open_checkpoint(path).config == (both if kind == "tag2text" else plain).config
        without = convert_checkpoint(plain, tmp_path / f"{kind}-tags", CAPTIONED)
        facts = convert_checkpoint(both, tmp_path / f"{kind}-both", CAPTIONED, parts)
        assert (without.has_captions, facts.has_captions) == (False, True)
        assert "text_decoder" in facts.costs.keys() - without.costs.keys()
        # what a tagging-only load leaves on disk is in a file of its own
        sizes = [
            (tmp_path / f"{kind}-{n}" / "model.safetensors").stat().st_size
            for n in ("tags", "both")
        ]
        assert sizes[0] == sizes[1]
        official, _ = load_official(path, captions=captions_config())
        loaded = load_folder(tmp_path / f"{kind}-both", captions=True)
        for name, tensor in official.state_dict().items():
            assert torch.equal(tensor, loaded.model.state_dict()[name]), name
        with pytest.raises(CaptionError, match="word_pieces are for captions"):
            convert_checkpoint(plain, tmp_path / "m", CAPTIONED, parts)
        with pytest.raises(CaptionError, match="name its word_pieces"):
            convert_checkpoint(both, tmp_path / "m", CAPTIONED)
    pieces.write_text("\n".join(PIECES[:-1]))
    with pytest.raises(
        CaptionError, match="holds 29 word pieces, but the model was trained with 30"
    ):
        convert_checkpoint(both, tmp_path / "m", CAPTIONED, parts)
    assert not (tmp_path / "m").exists()


def test_half_precision_halves_the_file(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "x.pth"))
    facts = convert_checkpoint(checkpoint, tmp_path / "half", VOCABULARY, dtype="float16")
    assert facts.weights_dtypes == ("F16",)
    assert 0 < facts.weights_bytes - converted_bytes(facts.config, "float16") < 20_000
    exact = _logits(load_official(tmp_path / "x.pth")[0])
    assert 0 < (_logits(load_folder(tmp_path / "half").model) - exact).abs().max() < 1e-2


def test_parts_and_where_they_came_from(tmp_path: Path) -> None:
    path = write_checkpoint(tmp_path / "x.pth", "ram_plus")
    clip, templates = tmp_path / "clip.bin", tmp_path / "t"
    torch.save(tiny_clip().state_dict(), clip)
    templates.write_text("a {}.\nmy {}.")
    described, license = tmp_path / "d", tmp_path / "l"
    described.write_text(json.dumps([{"fox": ["A red animal."]}]))
    license.write_text("\n  Apache License\nVersion 2.0\n")
    parts = FolderParts(
        templates=templates,
        descriptions=described,
        text_encoder=clip,
        license=license,
        sources={"checkpoint": {"from": "https://x.example/x.pth", "sha256": "ab"}},
    )

    facts = convert_checkpoint(open_checkpoint(path), tmp_path / "model", VOCABULARY, parts)

    assert facts.new_words == "2 templates of templates.txt; 1 words have descriptions"
    assert facts.license == "Apache License"
    assert facts.sources["checkpoint"]["from"] == "https://x.example/x.pth"
    assert set(facts.checksums) == {
        "config.json", "model.safetensors", "vocabulary.parquet", "templates.txt",
        "descriptions.json", "WEIGHTS_LICENSE", "sources.json", "text_encoder/config.json",
        "text_encoder/model.safetensors",
    }  # fmt: skip
    assert facts.damaged == ()
    card = (tmp_path / "model" / "MODEL_CARD.md").read_text()
    assert "| tags | 3, of which 1 are switched off (threshold 1.0) |" in card
    assert "| new words | 2 templates of templates.txt; 1 words have descriptions |" in card
    assert "| checkpoint | https://x.example/x.pth, sha256 ab |" in card


def test_parts_are_added_to_a_folder(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "x.pth"))
    before = convert_checkpoint(checkpoint, tmp_path / "m", VOCABULARY)
    assert before.new_words == "only with --text-encoder (80 templates of open_clip)"
    clip = tmp_path / "clip.bin"
    torch.save(tiny_clip().state_dict(), clip)
    after = add_parts(tmp_path / "m", FolderParts(text_encoder=clip, sources={"clip": "here"}))
    assert after.new_words == "80 templates of open_clip"
    assert after.sources["clip"] == "here"
    assert after.damaged == ()
    assert set(before.checksums) < set(after.checksums)


def test_a_bad_part_leaves_no_folder(tmp_path: Path) -> None:
    ram, plus = (write_checkpoint(tmp_path / kind, kind) for kind in ("ram", "ram_plus"))
    bad, good = tmp_path / "bad", tmp_path / "good"
    bad.write_text("{")
    good.write_text(json.dumps([{"fox": ["A red animal."]}]))
    cases = [
        (plus, FolderParts(templates=bad), "has no {} for the word"),
        (plus, FolderParts(descriptions=bad), "cannot be read"),
        (plus, FolderParts(text_encoder=bad), "cannot be read as weights alone"),
        (ram, FolderParts(descriptions=good), "descriptions are for RAM\\+\\+"),
    ]
    for path, parts, message in cases:
        with pytest.raises((CheckpointError, LabelError), match=message):
            convert_checkpoint(open_checkpoint(path), tmp_path / "model", VOCABULARY, parts)
    larger = VOCABULARY.extended(["fox"], 0.5)
    with pytest.raises(CheckpointError, match="The vocabulary holds 4 tags, the model 3"):
        convert_checkpoint(open_checkpoint(ram), tmp_path / "model", larger)
    assert not (tmp_path / "model").exists()


def test_a_model_is_never_overwritten(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "x.pth"))
    convert_checkpoint(checkpoint, tmp_path / "m", VOCABULARY)
    with pytest.raises(CheckpointError, match="holds a model already"):
        convert_checkpoint(checkpoint, tmp_path / "m", VOCABULARY)


def test_interrupted_conversion_leaves_no_model(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "x.pth"))
    with monkeypatch.context() as patch:
        patch.setattr(Vocabulary, "to_parquet", lambda *_: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            convert_checkpoint(checkpoint, tmp_path / "m", VOCABULARY)
    with pytest.raises(CheckpointError, match="is not a model folder"):
        load_folder(tmp_path / "m")
    convert_checkpoint(checkpoint, tmp_path / "m", VOCABULARY)
    assert load_folder(tmp_path / "m").config.num_tags == 3


def test_damage_is_found(tmp_path: Path) -> None:
    checkpoint = open_checkpoint(write_checkpoint(tmp_path / "x.pth"))
    convert_checkpoint(checkpoint, tmp_path / "m", VOCABULARY)
    assert inspect_folder(tmp_path / "m").damaged == ()
    with (tmp_path / "m" / "config.json").open("a") as file:
        file.write(" ")
    (tmp_path / "m" / "sources.json").unlink()
    assert inspect_folder(tmp_path / "m").damaged == ("config.json", "sources.json")
    shutil.copyfile(tmp_path / "x.pth", tmp_path / "m" / "model.safetensors")
    with pytest.raises(CheckpointError, match="is not a safetensors file"):
        inspect_folder(tmp_path / "m")
    (tmp_path / "m" / "checksums.json").unlink()
    with pytest.raises(CheckpointError, match=r"checksums\.json cannot be read"):
        inspect_folder(tmp_path / "m")

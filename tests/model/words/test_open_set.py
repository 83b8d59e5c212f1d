import json
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from ram_model.config import Kind, variant
from ram_model.errors import LabelError, UnknownTagError
from ram_model.files.checkpoint import save_folder
from ram_model.files.pretrained import PACKAGED, open_model
from ram_model.networks.ram import Ram
from ram_model.networks.ram_plus import RamPlus
from ram_model.tagger import Tagger, Tags
from ram_model.vocabulary import Vocabulary
from ram_model.words.label_embeddings import find_label_source
from ram_model.words.open_set import add_labels
from tests.model.tiny_clip import write_text_encoder

NAMES = tuple("ant bee cat dog elk fox gnu hen".split())
VOCABULARY = Vocabulary(
    names=NAMES,
    thresholds=np.array([0.1, 0.2, 0.3, 0.4, 0.6, 0.7, 0.8, 1.0]),
    aliases=((), (), ("kitty",), (), (), (), (), ()),
)
NEW = ("zebra", "red fox", "harbour")


@cache
def _model(kind: Kind) -> Ram:
    """A tiny model whose scores spread over 0..1."""
    with torch.random.fork_rng():
        torch.manual_seed(3)
        config = variant("tiny", kind=kind, num_tags=len(NAMES))
        model = RamPlus(config) if kind == "ram_plus" else Ram(config)
        for parameter in model.tag_decoder.parameters():
            torch.nn.init.normal_(parameter, std=0.2)
        torch.nn.init.normal_(model.classifier.weight, std=0.5)
    return model.eval()


@pytest.fixture(scope="module", params=["ram", "ram_plus"])
def folder(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model folder with a text encoder."""
    folder = tmp_path_factory.mktemp(request.param)
    model = _model(request.param)
    save_folder(model, model.config, VOCABULARY, folder)
    write_text_encoder(folder)
    (folder / "templates.txt").write_text("a photo of {article} {}.\nmy {}.")
    return folder


def _images() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (2, 128, 128, 3), dtype=np.uint8)


def _scores(found: list[Tags]) -> dict[str, list[float]]:
    columns: dict[str, list[float]] = {}
    for tags in found:
        for name, score in zip(tags.names, tags.scores, strict=True):
            columns.setdefault(name, []).append(float(score))
    return columns


def test_known_words_keep_scores_and_thresholds_beside_new_ones(folder: Path) -> None:
    words = ["zebra", "kitty", "hen", "red fox", "bee", "zebra"]
    full = Tagger.load(folder, score_floor=0.0)
    mixed = Tagger.load(folder, score_floor=0.0, tags=words)

    theirs, ours = _scores(full(_images())), _scores(mixed(_images()))

    assert list(mixed.vocabulary.names[8:]) == ["zebra", "red fox"]
    assert set(ours) == {"zebra", "cat", "red fox", "bee"}  # hen is switched off
    for name in ("cat", "bee"):
        assert ours[name] == pytest.approx(theirs[name], abs=1e-6)
    assert mixed.vocabulary.thresholds[[1, 2, 8, 9]].tolist() == pytest.approx([0.2, 0.3, 0.5, 0.5])
    ids = {int(i) for tags in mixed(_images()) for i in tags.tag_ids}
    assert ids == {1, 2, 8, 9}
    assert mixed.notes[0].startswith("New to the model, scored by their text alone: zebra, red fox")


def test_thresholds_of_new_words(folder: Path) -> None:
    words = ["zebra", "bee"]
    (score, _) = _scores(Tagger.load(folder, tags=words, score_floor=0.0)(_images()))["zebra"]
    cases: list[tuple[dict[str, Any], bool]] = [
        ({"open_set_threshold": score - 0.01}, True),
        ({"open_set_threshold": score + 0.01}, False),
        ({"threshold": score - 0.01, "open_set_threshold": 1.0}, True),
        ({"threshold": score + 0.01, "open_set_threshold": 0.0}, False),
        ({"threshold": [0.5] * 8, "open_set_threshold": score - 0.01}, True),
    ]
    for options, fires in cases:
        (tags, _) = Tagger.load(folder, tags=words, **options)(_images())
        assert ("zebra" in tags.names) == fires, options
    with pytest.raises(ValueError, match="open_set_threshold is 2"):
        Tagger.load(folder, tags=words, open_set_threshold=2)


def test_facts_of_a_run_change_with_the_labels(folder: Path, tmp_path: Path) -> None:
    closed = Tagger.load(folder, tags=["bee"])
    one = Tagger.load(folder, tags=["bee", "zebra"])
    other = Tagger.load(folder, tags=["bee", "harbour"])
    assert closed.labels_sha256 is None
    assert len({one.labels_sha256, other.labels_sha256, None}) == 3
    assert len({t.vocabulary_sha256 for t in (closed, one, other)}) == 3


@settings(max_examples=12, deadline=None)
@given(
    kind=st.sampled_from(["ram", "ram_plus"]),
    tag_ids=st.lists(st.integers(0, 7), unique=True).map(sorted),
    counts=st.lists(st.integers(1, 70), max_size=3),
)
def test_any_mix_of_tags_gives_the_columns_of_the_full_run(
    kind: Kind, tag_ids: list[int], counts: list[int]
) -> None:
    if not tag_ids and not counts:
        return
    model = _model(kind)
    generator = torch.Generator().manual_seed(sum(counts))
    labels = {
        word: F.normalize(
            torch.randn(count if kind == "ram_plus" else 1, 512, generator=generator), dim=1
        )
        for word, count in zip(NEW, counts, strict=False)
    }
    images = torch.randn(1, 3, 128, 128, generator=generator)
    with torch.inference_mode():
        everything = add_labels(model, range(8), labels)(images)
        some = add_labels(model, tag_ids, labels)(images)
        plain = model(images)
    columns = [*tag_ids, *range(8, 8 + len(labels))]
    assert some.shape == (1, len(columns))
    assert (some - everything[:, columns]).abs().max() <= 2e-6
    assert (everything[:, :8] - plain).abs().max() <= 2e-6


def test_descriptions_are_used_and_refused_where_they_mean_nothing(
    folder: Path, tmp_path: Path
) -> None:
    path = tmp_path / "d.json"
    path.write_text(json.dumps([{"zebra": ["A horse with stripes.", "It lives in Africa."]}]))
    if folder.name.startswith("ram_plus"):
        plain = Tagger.load(folder, tags=["zebra"], score_floor=0.0)
        described = Tagger.load(folder, tags=["zebra"], score_floor=0.0, descriptions=path)
        first, second = (_scores(t(_images()))["zebra"] for t in (plain, described))
        assert max(abs(one - other) for one, other in zip(first, second, strict=True)) > 1e-5
        assert "1 with descriptions, 0 with" in described.notes[0]
    else:
        with pytest.raises(LabelError, match=r"descriptions are for RAM\+\+"):
            Tagger.load(folder, tags=["zebra"], descriptions=path)


def test_options_for_new_words_need_words(folder: Path) -> None:
    with pytest.raises(LabelError, match="text_encoder is for new tags"):
        Tagger.load(folder, text_encoder=folder / "text_encoder")


def test_models_that_cannot_take_new_words_say_what_would_work(tmp_path: Path) -> None:
    learnt = Ram(replace(_model("ram").config, train_labels=True))
    save_folder(learnt, learnt.config, VOCABULARY, tmp_path)
    with pytest.raises(UnknownTagError, match=r"learnt its 8 tags .*'forklift'.*fetch ram-plus"):
        Tagger.load(tmp_path, tags=["dog", "forklift"])
    with pytest.raises(UnknownTagError, match=r"'dogg' \(did you mean 'dog'\?\)"):
        Tagger.load(tmp_path, tags=["dogg"])
    model = _model("ram")
    save_folder(model, model.config, VOCABULARY, tmp_path)
    with pytest.raises(UnknownTagError, match=r"no text encoder, which new tags need: 'zebra'"):
        Tagger.load(tmp_path, tags=["zebra"])
    many = [f"word {i}" for i in range(30)]
    with pytest.raises(UnknownTagError, match="'word 9' and 20 more"):
        Tagger.load(tmp_path, tags=many)
    assert len(Tagger.load(tmp_path, tags=["BEE", "#3"], threshold=0.0)(_images())[0]) == 2


def test_names_shared_by_tags_are_told_apart_by_id() -> None:
    twice = replace(VOCABULARY, names=("run", *NAMES[1:7], "run"), thresholds=np.full(8, 0.0))
    both = Tagger(_model("ram"), twice, tags=["run"])(_images())[0]
    second = Tagger(_model("ram"), twice, tags=["#7"])(_images())[0]
    assert (both.names, sorted(both.tag_ids)) == (["run", "run"], [0, 7])
    assert (second.names, second.tag_ids.tolist()) == (["run"], [7])


def test_new_words_get_the_threshold_of_the_model(folder: Path, tmp_path: Path) -> None:
    opened = open_model(folder)
    config = replace(opened.config, open_set_threshold=0.2)
    model = type(opened.model)(config)
    model.load_state_dict(opened.model.state_dict())
    save_folder(model, config, VOCABULARY, tmp_path)

    def threshold(source: Path, **options: Any) -> float:
        text = folder / "text_encoder"
        tagger = Tagger.load(source, tags=["zebra"], text_encoder=text, **options)
        return float(tagger.vocabulary.thresholds[-1])

    assert threshold(folder) == pytest.approx(0.5)
    assert threshold(tmp_path) == pytest.approx(0.2)
    assert threshold(tmp_path, open_set_threshold=0.3) == pytest.approx(0.3)
    assert threshold(tmp_path, threshold=0.4) == pytest.approx(0.4)


def test_thresholds_outside_0_to_1_are_refused() -> None:
    with pytest.raises(ValueError, match="open_set_threshold is 2, but must be in"):
        replace(_model("ram").config, open_set_threshold=2)


def test_nothing_is_written_into_the_package() -> None:
    source = find_label_source(PACKAGED / "ram-mini")
    assert source is not None
    assert not any(cache.is_relative_to(PACKAGED) for cache in source.cache_folders)

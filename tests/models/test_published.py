"""The pinned files are those that the acceptance data holds under the same names."""

from dataclasses import fields
from pathlib import Path

import pytest

from ram_model.weight_files import file_sha256
from ram_model.wordpiece import WORD_PIECES_SHA256
from ram_ray.models.files import PublishedFiles
from ram_ray.models.published import MODELS, PublishedFile, PublishedModel


def _files(model: PublishedModel) -> list[PublishedFile]:
    files = (getattr(model, field.name) for field in fields(model))
    return [file for file in files if isinstance(file, PublishedFile)]


@pytest.mark.shared
@pytest.mark.parametrize("name", list(MODELS))
def test_checksums_are_those_of_the_published_files(name: str, shared: Path) -> None:
    labels = shared / "data" / "labels" / "ram"
    pinned = {file.name: file.sha256 for file in _files(MODELS[name]) if file.sha256}
    found = {n: file_sha256(path) for n in pinned for path in labels.rglob(n)}
    found |= {"vocab.txt": WORD_PIECES_SHA256} if name == "tag2text" else {}  # not among the data
    assert found == pinned


@pytest.mark.shared
def test_published_vocabulary_of_ram(shared: Path, tmp_path: Path) -> None:
    files = PublishedFiles(tmp_path, mirror=str(shared / "data" / "labels" / "ram"))
    vocabulary = files.vocabulary(MODELS["ram"])
    assert len(vocabulary) == 4585
    assert [i for i, threshold in enumerate(vocabulary.thresholds) if threshold == 1.0] == [
        498, 1006, 1780, 1965, 2443, 3210, 3590, 3602, 3910, 4322
    ]  # fmt: skip
    assert vocabulary.names[498] == "body"
    assert sum(name.endswith(" ") for name in vocabulary.names_zh) == 2579
    assert vocabulary.thresholds.min() == pytest.approx(0.45)
    assert vocabulary.names[int(vocabulary.thresholds.argmin())] == "nebula"


@pytest.mark.shared
def test_published_vocabulary_of_tag2text(shared: Path, tmp_path: Path) -> None:
    files = PublishedFiles(tmp_path, mirror=str(shared / "data" / "labels" / "ram"))
    vocabulary = files.vocabulary(MODELS["tag2text"])
    assert len(vocabulary) == 3429
    assert vocabulary.names[2701] == "person"
    assert vocabulary.thresholds[2701] == pytest.approx(0.7)


def test_every_file_has_a_place_and_text_files_a_checksum() -> None:
    for name, model in MODELS.items():
        assert model.name == name
        for file in _files(model):
            assert file.urls, file.name
            assert all(url.startswith("https://") for url in file.urls)
            assert all(url.endswith(f"/{file.name}") for url in file.urls)
        unpinned = {file.name for file in _files(model) if file.sha256 is None}
        # weights: by the hub's own hash; templates: by the list inside
        assert unpinned <= {
            model.checkpoint.name, "openset_utils.py", "open_clip_model.safetensors", "LICENSE",
        }  # fmt: skip

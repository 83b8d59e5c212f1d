"""The pinned files are those that the acceptance data holds under the same names."""

from pathlib import Path

import pytest

from ram_model.checkpoint import file_sha256
from ram_ray.published_files import PublishedFiles
from ram_ray.published_models import MODELS, TAG2TEXT_TAGS, PublishedFile


def _files(name: str) -> list[PublishedFile]:
    model = MODELS[name]
    files = [model.tags, model.thresholds, model.tags_zh]
    return files if model.descriptions is None else [*files, model.descriptions]


@pytest.mark.shared
@pytest.mark.parametrize("name", ["ram", "ram-plus"])
def test_checksums_are_those_of_the_published_files(name: str, shared: Path) -> None:
    labels = shared / "data" / "labels" / "ram"
    for file in [*_files(name), TAG2TEXT_TAGS]:
        (found,) = labels.rglob(file.name)
        assert file_sha256(found) == file.sha256, file.name


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


def test_every_file_has_a_place_and_text_files_a_checksum() -> None:
    for name, model in MODELS.items():
        assert model.name == name
        for file in [*_files(name), model.templates, model.text_encoder, model.license]:
            assert file.urls, file.name
            assert all(url.startswith("https://") for url in file.urls)
            assert all(url.endswith(f"/{file.name}") for url in file.urls)
        assert all(file.sha256 for file in _files(name))

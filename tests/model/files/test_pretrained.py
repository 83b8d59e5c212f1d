from pathlib import Path

import numpy as np
import pytest
import torch

from ram_model.config import variant
from ram_model.errors import CheckpointError, UnknownModelError
from ram_model.files import pretrained
from ram_model.files.checkpoint import save_folder
from ram_model.files.pretrained import models_home, open_model
from ram_model.networks.ram import Ram
from ram_model.tagger import Tagger
from ram_model.vocabulary import Vocabulary


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    torch.manual_seed(0)
    model = Ram(variant("tiny", num_tags=2))
    vocabulary = Vocabulary(names=("cat", "dog"), thresholds=np.array([0.5, 0.6]))
    return save_folder(model, model.config, vocabulary, tmp_path / "ram-mini")


def test_folder_is_opened(folder: Path) -> None:
    tagger = Tagger.load(str(folder), top_k=1)
    assert tagger.model_id == str(folder)
    assert tagger.weights_sha256 == open_model(folder).weights_sha256
    assert tagger.vocabulary.names == ("cat", "dog")
    assert not tagger.is_random


def test_name_means_the_packaged_folder(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pretrained, "PACKAGED", folder.parent)
    opened = open_model("ram-mini")
    assert (opened.model_id, opened.is_random) == ("ram-mini", False)
    assert opened.config.num_tags == 2


def test_without_it_the_untrained_model_is_always_the_same(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pretrained, "PACKAGED", tmp_path)
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    first, second = open_model(), open_model("ram-mini")
    assert first.is_random
    assert first.weights_sha256 == second.weights_sha256
    assert len(first.vocabulary) == 40
    assert first.config.image_size_px == 128
    assert torch.equal(torch.random.get_rng_state(), before)
    tagger = Tagger.load(first)
    assert tagger.is_random
    assert "untrained" in tagger.model_id


@pytest.mark.parametrize("name", ["ram-maxi", "/no/such/folder", ""])
def test_unknown_models_are_refused_with_what_is_known(name: str) -> None:
    with pytest.raises(
        UnknownModelError, match="ram-mini, ram, ram-plus, tag2text, or a model folder"
    ):
        open_model(name)


def test_fetched_models_go_by_their_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAM_RAY_MODELS", str(folder.parent / "home"))
    with pytest.raises(UnknownModelError, match="not on this machine: `ram-ray model fetch ram`"):
        open_model("ram")
    (folder.parent / "home").mkdir()
    folder.rename(folder.parent / "home" / "ram")
    opened = open_model("ram")
    assert (opened.model_id, opened.folder) == ("ram", folder.parent / "home" / "ram")


def test_models_home_is_in_the_cache_unless_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAM_RAY_MODELS", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert models_home() == tmp_path / "ram-ray" / "models"


def test_damaged_folder_is_refused(folder: Path) -> None:
    (folder / "checksums.json").unlink()
    with pytest.raises(CheckpointError, match=r"checksums.json is missing"):
        open_model(folder)

import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

import ram_model.weight_files
from ram_model.files.pretrained import open_model
from ram_model.vocabulary import Vocabulary
from ram_ray.errors import ConfigError, IncompleteRunError, UnreachableError
from ram_ray.models import convert as converting_models
from ram_ray.models.config import ConvertConfig
from ram_ray.models.convert import convert_model
from ram_ray.models.published import MODELS
from tests.http_server import FileServer
from tests.model.official_state import write_checkpoint
from tests.published import published


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "x.pth")


@pytest.fixture
def vocabulary(tmp_path: Path) -> Path:
    thresholds = np.array([0.5, 0.6, 1.0])
    path = tmp_path / "tags.parquet"
    Vocabulary(names=("ant", "bee", "cow"), thresholds=thresholds).to_parquet(path)
    return path


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    (tmp_path / "published").mkdir()
    with published(tmp_path / "published", monkeypatch) as server:
        yield server


def test_with_a_vocabulary_of_ones_own(checkpoint: Path, vocabulary: Path, tmp_path: Path) -> None:
    config = ConvertConfig(checkpoint=checkpoint, folder=tmp_path / "m", vocabulary=vocabulary)
    facts = convert_model(config)
    assert open_model(tmp_path / "m").vocabulary.names == ("ant", "bee", "cow")
    assert facts.sources["checkpoint"]["from"] == "x.pth"
    assert facts.sources["vocabulary"]["from"] == "tags.parquet"
    with pytest.raises(ConfigError, match="holds a model already"):
        convert_model(config)


def test_published_tags_fit_published_sizes_only(checkpoint: Path, tmp_path: Path) -> None:
    with pytest.raises(
        ConfigError, match="the checkpoint has 3 tags, the published lists have 4585"
    ):
        convert_model(ConvertConfig(checkpoint=checkpoint, folder=tmp_path / "m"))
    assert not (tmp_path / "m").exists()


@pytest.mark.parametrize("where", ["published", "mirror"])
def test_published_tags_come_along(
    checkpoint: Path,
    server: FileServer,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: str,
) -> None:
    monkeypatch.setattr(converting_models, "published_num_tags", lambda _: 3)
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for path, body in server.files.items():
        (mirror / path.removeprefix("/")).write_bytes(body)
    config = ConvertConfig(
        checkpoint=checkpoint,
        folder=tmp_path / "m",
        mirror=str(mirror) if where == "mirror" else None,
    )
    facts = convert_model(config)
    assert open_model(tmp_path / "m").vocabulary.names == ("cat", "dog", "sea")
    assert facts.sources["ram_tag_list.txt"]["pinned"] is True
    assert not (tmp_path / "m" / "download").exists()
    assert bool(server.requests) == (where == "published")


def test_nobody_has_the_tags(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converting_models, "published_num_tags", lambda _: 3)
    config = ConvertConfig(checkpoint=checkpoint, folder=tmp_path / "m", mirror=str(tmp_path))
    with pytest.raises(UnreachableError, match=r"has no file ram_tag_list\.txt"):
        convert_model(config)


def test_without_internet_the_mirror_is_named_at_once(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(converting_models, "published_num_tags", lambda _: 3)
    nowhere = replace(MODELS["ram"].tags, urls=("http://127.0.0.1:9/tags.txt",))
    monkeypatch.setitem(MODELS, "ram", replace(MODELS["ram"], tags=nowhere))
    config = ConvertConfig(checkpoint=checkpoint, folder=tmp_path / "m")
    with pytest.raises(UnreachableError, match=r"Connection refused.*--mirror URL\|FOLDER"):
        convert_model(config)


WRAPPED = {
    "a bare state dict": lambda state: state,
    "state_dict": lambda state: {"state_dict": state, "epoch": 3},
    "model_ema alone": lambda state: {"model_ema": state},
    "DistributedDataParallel": lambda state: {"model": _prefixed(state, "module.")},
    "torch.compile": lambda state: {"model": _prefixed(state, "_orig_mod.")},
    "both, one way": lambda state: {"state_dict": _prefixed(state, "module._orig_mod.")},
    "both, the other way": lambda state: {"model": _prefixed(state, "_orig_mod.module.")},
    "a compiled part": lambda state: {
        "model": {
            name.replace("visual_encoder.", "visual_encoder._orig_mod."): tensor
            for name, tensor in state.items()
        }
    },
    "AveragedModel": lambda state: {
        "model_ema": _prefixed(state, "module.") | {"n_averaged": torch.tensor(7)}
    },
    "timm's ModelEma": lambda state: {"model_ema": {"module": _prefixed(state, "module.")}},
    "Lightning": lambda state: {"state_dict": _prefixed(state, "model."), "callbacks": {}},
    "one in the other": lambda state: {"model": {"state_dict": {"model_ema": state}}},
}


def _prefixed(state: dict[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {prefix + name: tensor for name, tensor in state.items()}


@pytest.mark.parametrize("wrap", WRAPPED.values(), ids=WRAPPED)
def test_checkpoints_as_trainers_wrap_them(
    checkpoint: Path, vocabulary: Path, tmp_path: Path, wrap: Callable[..., dict]
) -> None:
    state = torch.load(checkpoint, weights_only=True)["model"]
    torch.save(wrap(state), tmp_path / "wrapped.pth")
    assert _converted(tmp_path / "wrapped.pth", vocabulary, tmp_path / "m") == _converted(
        checkpoint, vocabulary, tmp_path / "plain"
    )


def _converted(checkpoint: Path, vocabulary: Path, folder: Path, **options: str) -> bytes:
    config = ConvertConfig(checkpoint=checkpoint, folder=folder, vocabulary=vocabulary, **options)  # pyright: ignore[reportArgumentType]
    convert_model(config)
    return (folder / "model.safetensors").read_bytes()


def test_of_several_weights_the_trained_ones_or_those_asked_for(
    checkpoint: Path, vocabulary: Path, tmp_path: Path
) -> None:
    state = torch.load(checkpoint, weights_only=True)["model"]
    average = {name: tensor + 1 for name, tensor in state.items()}
    several = tmp_path / "several.pth"
    torch.save({"model_ema": {"module": average}, "model": state}, several)
    plain = _converted(checkpoint, vocabulary, tmp_path / "plain")
    assert _converted(several, vocabulary, tmp_path / "a") == plain
    assert _converted(several, vocabulary, tmp_path / "b", weights="model_ema") != plain
    with pytest.raises(ConfigError, match=r"its weights under model, model_ema\.module"):
        _converted(several, vocabulary, tmp_path / "c", weights="teacher")
    torch.save({"optimizer": {}, "epoch": 1}, several)
    with pytest.raises(ConfigError, match="is not a state dict, nor a dict with one under model"):
        _converted(several, vocabulary, tmp_path / "c")


@pytest.mark.parametrize("prefix", ["", "module.", "model."])
def test_safetensors_in_the_official_layout(
    checkpoint: Path, vocabulary: Path, tmp_path: Path, prefix: str
) -> None:
    state = _prefixed(torch.load(checkpoint, weights_only=True)["model"], prefix)
    save_file(state, tmp_path / "x.safetensors")
    plain = _converted(checkpoint, vocabulary, tmp_path / "plain")
    assert _converted(tmp_path / "x.safetensors", vocabulary, tmp_path / "m") == plain
    (tmp_path / "cut.safetensors").write_bytes((tmp_path / "x.safetensors").read_bytes()[:-9])
    with pytest.raises(ConfigError, match=r"cut\.safetensors cannot be read as safetensors"):
        _converted(tmp_path / "cut.safetensors", vocabulary, tmp_path / "c")


def test_a_tied_tensor_that_safetensors_keeps_under_its_other_name(
    checkpoint: Path, vocabulary: Path, tmp_path: Path
) -> None:
    state = torch.load(checkpoint, weights_only=True)["model"]
    head = "tagging_head.encoder.layer.0."
    tied = {
        name.replace(head, "tag_encoder.encoder.layer.0."): tensor for name, tensor in state.items()
    }
    save_file(tied, tmp_path / "x.safetensors")
    plain = _converted(checkpoint, vocabulary, tmp_path / "plain")
    assert _converted(tmp_path / "x.safetensors", vocabulary, tmp_path / "m") == plain


def test_every_missing_and_unexpected_key_is_named(
    checkpoint: Path, vocabulary: Path, tmp_path: Path
) -> None:
    content = torch.load(checkpoint, weights_only=True)
    del content["model"]["fc.bias"], content["model"]["visual_encoder.norm.weight"]
    torch.save(content, checkpoint)
    config = ConvertConfig(checkpoint=checkpoint, folder=tmp_path / "m", vocabulary=vocabulary)
    with pytest.raises(
        ConfigError,
        match=r"missing 'image_encoder\.swin\.norm\.weight'; missing 'classifier\.bias'",
    ):
        convert_model(config)
    content["model"]["surprise"] = torch.zeros(1)
    torch.save(content, checkpoint)
    with pytest.raises(ConfigError, match="'surprise', which belongs to no known part"):
        convert_model(config)
    assert not (tmp_path / "m").exists()


def test_disk_too_small_is_seen_first(
    checkpoint: Path, vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(converting_models.shutil, "disk_usage", lambda _: usage)
    config = ConvertConfig(checkpoint=checkpoint, folder=tmp_path / "m", vocabulary=vocabulary)
    with pytest.raises(IncompleteRunError, match="Not enough disk space"):
        convert_model(config)
    assert not (tmp_path / "m").exists()


def test_disk_that_fills_up_is_no_traceback(
    checkpoint: Path, vocabulary: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise SafetensorError("No space left on device (os error 28)")

    config = ConvertConfig(checkpoint=checkpoint, folder=tmp_path / "m", vocabulary=vocabulary)
    with monkeypatch.context() as patch:
        patch.setattr(ram_model.weight_files, "save_file", full)
        with pytest.raises(IncompleteRunError, match=r"No space left on .*run the same command"):
            convert_model(config)
    assert convert_model(config).config.num_tags == 3


def test_files_that_are_not_there_are_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"checkpoint is '.*none\.pth', but must be a file"):
        ConvertConfig(checkpoint=tmp_path / "none.pth", folder=tmp_path / "m")

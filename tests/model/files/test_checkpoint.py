import json
import pickle
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from ram_model.config import RamConfig, variant
from ram_model.errors import CheckpointError
from ram_model.files.checkpoint import build_on_meta, load_folder, load_official, save_folder
from ram_model.networks.ram import Ram
from ram_model.networks.ram_plus import RamPlus
from ram_model.vocabulary import Vocabulary
from tests.model.official_state import official_state

NUM_TAGS = 3


@pytest.fixture(scope="module")
def model() -> Ram:
    torch.manual_seed(0)
    return Ram(variant("tiny", num_tags=NUM_TAGS)).eval()


@pytest.fixture
def vocabulary() -> Vocabulary:
    return Vocabulary(names=("cat", "dog", "sea"), thresholds=np.array([0.5, 0.6, 1.0]))


def _logits(model: Ram) -> Tensor:
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        return model(images)


@pytest.mark.parametrize("kind", ["ram", "ram_plus"])
def test_official_file_is_recognised_by_its_keys(kind: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    model_class, config = {
        "ram": (Ram, variant("tiny", num_tags=NUM_TAGS)),
        "ram_plus": (RamPlus, variant("tiny", kind="ram_plus", num_tags=NUM_TAGS)),
    }[kind]
    original = model_class(config).eval()
    torch.save({"model": official_state(original), "epoch": 4}, tmp_path / "renamed.bin")

    loaded, found = load_official(tmp_path / "renamed.bin")

    assert found == config
    assert type(loaded) is model_class
    assert torch.equal(_logits(loaded), _logits(original))
    assert not loaded.training
    assert not loaded.label_embeddings.requires_grad


def test_old_name_of_the_tagging_head_is_read(model: Ram) -> None:
    state = {
        name.replace("tagging_head.", "vision_multi."): tensor
        for name, tensor in official_state(model).items()
    }
    loaded, _ = load_official(state)
    assert torch.equal(_logits(loaded), _logits(model))


@pytest.mark.parametrize(
    ("key", "replacement", "message"),
    [
        ("fc.bias", None, "missing 'classifier.bias'"),
        ("visual_encoder.norm.weight", None, "missing 'image_encoder.swin.norm.weight'"),
        ("label_embed", None, "missing 'label_embed'"),
        ("visual_encoder.norm.extra", torch.ones(1), "unexpected 'image_encoder.swin.norm.extra'"),
        ("optimizer_step", torch.ones(1), "'optimizer_step', which belongs to no known part"),
        ("fc.bias", torch.ones(2), r"'classifier.bias' has shape \(2,\) instead of \(1,\)"),
        ("label_embed.weight", torch.ones(2), "'label_embed.weight' has 1 dimensions instead of 2"),
        ("fc.b", torch.ones(1), "'fc.b' under two names"),
    ],
)
def test_every_wrong_key_is_named(
    model: Ram, key: str, replacement: Tensor | None, message: str
) -> None:
    state = official_state(model)
    if replacement is None:
        del state[key]
    else:
        state[key] = replacement
    with pytest.raises(CheckpointError, match=message):
        load_official(state)


class _Payload:
    def __reduce__(self) -> tuple:
        return (print, ("this must never run",))


def test_pickled_payload_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    torch.save({"model": {}, "config": _Payload()}, tmp_path / "evil.pth")
    with pytest.raises(
        CheckpointError, match=r"holds more than tensors \(print\), and is refused because"
    ):
        load_official(tmp_path / "evil.pth")
    assert "must never run" not in capsys.readouterr().out


@pytest.mark.parametrize("content", [b"", b"not a checkpoint", pickle.dumps({"model": {}})])
def test_files_that_are_no_checkpoints_are_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "x.pth").write_bytes(content)
    with pytest.raises(CheckpointError, match=r"x\.pth"):
        load_official(tmp_path / "x.pth")


def test_absent_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"absent\.pth"):
        load_official(tmp_path / "absent.pth")


def test_folder_round_trip(model: Ram, vocabulary: Vocabulary, tmp_path: Path) -> None:
    save_folder(model, model.config, vocabulary, tmp_path / "m")
    loaded = load_folder(tmp_path / "m")
    assert loaded.config == model.config
    assert loaded.vocabulary.sha256 == vocabulary.sha256
    assert torch.equal(_logits(loaded.model), _logits(model))
    sums = json.loads((tmp_path / "m" / "checksums.json").read_text(encoding="utf-8"))
    assert loaded.weights_sha256 == sums["model.safetensors"]


def test_converted_checkpoint_gives_identical_logits(
    model: Ram, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    torch.save({"model": official_state(model)}, tmp_path / "ram.pth")
    official, config = load_official(tmp_path / "ram.pth")
    save_folder(official, config, vocabulary, tmp_path / "m")
    assert torch.equal(_logits(load_folder(tmp_path / "m").model), _logits(official))


def test_half_precision_on_disk_is_widened(
    model: Ram, vocabulary: Vocabulary, tmp_path: Path
) -> None:
    save_folder(model, model.config, vocabulary, tmp_path / "m", dtype=torch.float16)
    size = (tmp_path / "m" / "model.safetensors").stat().st_size
    num_parameters = sum(p.numel() for p in model.parameters())
    assert 2 * num_parameters < size < 3 * num_parameters
    loaded = load_folder(tmp_path / "m").model
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    assert (_logits(loaded) - _logits(model)).abs().max() < 0.01


@pytest.mark.parametrize("name", ["config.json", "model.safetensors", "vocabulary.parquet"])
def test_changed_or_missing_file_is_named(
    model: Ram, vocabulary: Vocabulary, tmp_path: Path, name: str
) -> None:
    folder = save_folder(model, model.config, vocabulary, tmp_path / "m")
    with (folder / name).open("ab") as file:
        file.write(b"\n")
    with pytest.raises(CheckpointError, match=f"{name} is not the file that checksums.json"):
        load_folder(folder)
    (folder / name).unlink()
    with pytest.raises(CheckpointError, match=f"{name} is missing"):
        load_folder(folder)


def test_sizes_must_agree(model: Ram, vocabulary: Vocabulary, tmp_path: Path) -> None:
    two = Vocabulary(names=("cat", "dog"), thresholds=np.array([0.5, 0.6]))
    with pytest.raises(CheckpointError, match="vocabulary holds 2 tags, the model 3"):
        save_folder(model, model.config, two, tmp_path)
    with pytest.raises(CheckpointError, match="not the model's own"):
        save_folder(model, variant("tiny"), vocabulary, tmp_path)


@pytest.mark.parametrize("name", ["swin_b_384", "swin_l_224"])
def test_official_sizes_build_without_memory(name: str) -> None:
    config: RamConfig = variant(name)
    model = build_on_meta(config)
    assert all(p.is_meta for p in model.parameters())
    assert model.label_embeddings.shape == (4585, 512)

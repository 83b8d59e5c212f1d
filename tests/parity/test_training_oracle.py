"""One training step against the official code; tolerances are those of the oracle's README."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ram_model.checkpoint import load_official
from ram_model.official_layout import DEAD_BUFFERS, our_name
from ram_model.ram import Ram
from ram_model.ram_plus import RamPlus
from ram_model.training_losses import Losses, ram_losses, ram_plus_losses

pytestmark = pytest.mark.shared

LOSS_TOLERANCE = 5e-6  # relative
NORM_TOLERANCE = 2e-5  # relative
KEY_BIAS_NORM_TOLERANCE = 1e-5  # absolute: zero in theory, so what there is, is noise
SUM_TOLERANCE = 1e-4  # absolute, after the step
NOISE_STEP = 2e-4  # absolute, per element whose gradient is noise: AdamW makes it +-lr


def _load(oracle: Path, name: str) -> tuple[Ram, dict[str, Any]]:
    """Return a model in evaluation mode, as the oracle's training step wants it, and the step."""
    model, _ = load_official(oracle / f"{name}_tiny.pth")
    return model, torch.load(oracle / f"{name}_tiny.out.pt", weights_only=True)["train"]


def _check_losses(losses: Losses, theirs: dict[str, float], total: float) -> None:
    ours = {
        "loss_tag": losses.tag,
        "loss_dis": losses.distillation,
        "loss_alignment": losses.alignment,
    }
    for name, expected in theirs.items():
        loss = ours[name]
        assert loss is not None
        assert loss.item() == pytest.approx(expected, rel=LOSS_TOLERANCE), name
    assert losses.total.item() == pytest.approx(total, rel=LOSS_TOLERANCE)


def _check_gradients(model: torch.nn.Module, theirs: dict[str, float | None]) -> None:
    ours = dict(model.named_parameters())
    for official, expected in theirs.items():
        name = our_name(official)
        assert name is not None, official
        gradient = ours.pop(name).grad
        if expected is None:
            assert gradient is None, official
            continue
        assert gradient is not None, official
        norm = gradient.double().norm().item()
        if official.endswith(".key.bias"):
            assert max(norm, expected) <= KEY_BIAS_NORM_TOLERANCE, official
        else:
            assert norm == pytest.approx(expected, rel=NORM_TOLERANCE), official
    assert not ours


def _check_step(model: torch.nn.Module, theirs: dict[str, float]) -> None:
    trained = [p for p in model.parameters() if p.requires_grad]
    torch.optim.AdamW(trained, lr=1e-4, weight_decay=0.05).step()
    state = model.state_dict()
    seen = set()
    for official, expected in theirs.items():
        if official.endswith(DEAD_BUFFERS):
            continue
        name = our_name(official)
        assert name is not None, official
        error = abs(state[name].double().sum().item() - expected)
        assert error <= _sum_tolerance(official, state[name]), official
        seen.add(name)
    assert seen == set(state)


def _sum_tolerance(official: str, tensor: Tensor) -> float:
    if official.endswith(".qkv.bias"):
        return NOISE_STEP * tensor.numel() / 3
    return NOISE_STEP * tensor.numel() if official.endswith(".key.bias") else SUM_TOLERANCE


def test_ram_plus_losses_gradients_and_one_step(oracle: Path, oracle_images: Tensor) -> None:
    model, step = _load(oracle, "ram_plus")
    assert isinstance(model, RamPlus)

    losses = ram_plus_losses(
        model, oracle_images[:2], step["image_tag"], step["clip_feature"], step["batch_text_embed"]
    )
    losses.total.backward()

    _check_losses(losses, step["losses"], step["total"])
    _check_gradients(model, step["grad_norm_param"])
    _check_step(model, step["after_step_sum"])


def test_ram_tag_and_distillation_losses(oracle: Path, oracle_images: Tensor) -> None:
    model, step = _load(oracle, "ram")

    losses = ram_losses(model, oracle_images[:2], step["image_tag"], step["clip_feature"])

    theirs = {name: step["losses"][name] for name in ("loss_tag", "loss_dis")}
    _check_losses(losses, theirs, sum(theirs.values()))

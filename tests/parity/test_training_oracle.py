"""One training step against the official code; tolerances are those of the oracle's README.

Losses and gradients are checked in float32 and float64, the step in float64 alone: AdamW makes any
gradient a step of the learning rate, so one gradient of 3e-9 among rounding errors of 1e-7 (there
is one in RAM's text decoder) moves a sum of float32 weights by more than the tolerance.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ram_model.checkpoint import load_official
from ram_model.config import CaptionConfig
from ram_model.official_layout import DEAD_BUFFERS, our_name
from ram_model.ram import Ram
from ram_model.ram_plus import RamPlus
from ram_model.tag2text import Tag2Text
from ram_model.training_losses import (
    CaptionBatch,
    Losses,
    ram_losses,
    ram_plus_losses,
    tag2text_losses,
)
from ram_model.wordpiece import WordPieceTokenizer

pytestmark = pytest.mark.shared

LOSS_TOLERANCE = 5e-6  # relative
NORM_TOLERANCE = 2e-5  # relative
KEY_BIAS_NORM_TOLERANCE = 1e-5  # absolute: zero in theory, so what there is, is noise
SUM_TOLERANCE = 1e-4  # absolute, after the step
NOISE_STEP = 2e-4  # absolute, per element whose gradient is noise: AdamW makes it +-lr


PRECISIONS = pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)


def _load(
    oracle: Path, name: str, dtype: torch.dtype, captions: CaptionConfig | None = None
) -> tuple[Ram, dict[str, Any]]:
    """Return a model in evaluation mode, as the oracle's training step wants it, and the step."""
    model, _ = load_official(oracle / f"{name}_tiny.pth", captions=captions)
    model.to(dtype)
    return model, torch.load(oracle / f"{name}_tiny.out.pt", weights_only=True)["train"]


def _check(model: Ram, losses: Losses, step: dict[str, Any]) -> None:
    _check_losses(losses, step["losses"], step["total"])
    losses.total.backward()
    _check_gradients(model, step["grad_norm_param"])
    if losses.total.dtype == torch.float64:
        _check_step(model, step["after_step_sum"])


def _check_losses(losses: Losses, theirs: dict[str, float], total: float) -> None:
    ours = {
        "loss_tag": losses.tag,
        "loss_t2t": losses.caption,
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
        name = our_name(official, captions=True)
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
        name = our_name(official, captions=True)
        assert name is not None, official
        error = abs(state[name].double().sum().item() - expected)
        assert error <= _sum_tolerance(official, state[name]), official
        seen.add(name)
    assert seen == set(state)


def _sum_tolerance(official: str, tensor: Tensor) -> float:
    if official.endswith(".qkv.bias"):
        return NOISE_STEP * tensor.numel() / 3
    return NOISE_STEP * tensor.numel() if official.endswith(".key.bias") else SUM_TOLERANCE


@PRECISIONS
def test_ram_plus_losses_gradients_and_one_step(
    oracle: Path, oracle_images: Tensor, dtype: torch.dtype
) -> None:
    model, step = _load(oracle, "ram_plus", dtype)
    assert isinstance(model, RamPlus)

    losses = ram_plus_losses(
        model,
        oracle_images[:2].to(dtype),
        step["image_tag"],
        step["clip_feature"],
        step["batch_text_embed"],
    )

    _check(model, losses, step)


@pytest.fixture(scope="module")
def captions(
    oracle: Path, oracle_config: dict[str, Any], oracle_tokenizer: WordPieceTokenizer
) -> CaptionBatch:
    """The captions of images 0 and 1, each with its own tags: the same for RAM and Tag2Text."""
    step = torch.load(oracle / "ram_tiny.out.pt", weights_only=True)["train"]
    rows = step["parse_tag"].bool()
    names = [[oracle_config["tags"][i] for i in row.nonzero().flatten()] for row in rows]
    return CaptionBatch.encode(oracle_tokenizer, step["caption"], names)


@PRECISIONS
def test_ram_losses_gradients_and_one_step(
    oracle: Path,
    oracle_images: Tensor,
    oracle_captions: CaptionConfig,
    captions: CaptionBatch,
    dtype: torch.dtype,
) -> None:
    model, step = _load(oracle, "ram", dtype, oracle_captions)

    losses = ram_losses(
        model, oracle_images[:2].to(dtype), step["image_tag"], step["clip_feature"], captions
    )

    _check(model, losses, step)


@PRECISIONS
def test_tag2text_losses_gradients_and_one_step(
    oracle: Path,
    oracle_images: Tensor,
    oracle_captions: CaptionConfig,
    captions: CaptionBatch,
    dtype: torch.dtype,
) -> None:
    model, step = _load(oracle, "tag2text", dtype, oracle_captions)
    assert isinstance(model, Tag2Text)

    losses = tag2text_losses(model, oracle_images[:2].to(dtype), step["parse_tag"], captions)

    _check(model, losses, step)


def test_ram_without_captions(oracle: Path, oracle_images: Tensor) -> None:
    model, step = _load(oracle, "ram", torch.float32)

    losses = ram_losses(model, oracle_images[:2], step["image_tag"], step["clip_feature"])

    theirs = {name: step["losses"][name] for name in ("loss_tag", "loss_dis")}
    _check_losses(losses, theirs, sum(theirs.values()))

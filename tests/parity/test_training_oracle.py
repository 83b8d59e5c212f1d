"""One training step against the official code; tolerances are those of the oracle's README.

One allowance more: AdamW makes of any gradient a step of about the learning rate, whose sign is
chance where the gradient is smaller than its own rounding error (RAM's text decoder has one of
3e-9 where errors are 1e-7). Such elements are counted, and each may step either way.
"""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from ram_model.config import CaptionConfig
from ram_model.files.checkpoint import load_official
from ram_model.files.official_layout import DEAD_BUFFERS, our_name
from ram_model.networks.ram import Ram
from ram_model.networks.ram_plus import RamPlus
from ram_model.networks.tag2text import Tag2Text
from ram_model.training.training_losses import (
    CaptionBatch,
    Losses,
    ram_losses,
    ram_plus_losses,
    tag2text_losses,
)
from ram_model.wordpiece import WordPieceTokenizer

LOSS_TOLERANCE = 5e-6  # relative
NORM_TOLERANCE = 2e-5  # relative
KEY_BIAS_NORM_TOLERANCE = 1e-5  # absolute: zero in theory, so what there is, is noise
SUM_TOLERANCE = 1e-4  # absolute, after the step
NOISE_STEP = 2e-4  # absolute, per element whose gradient is noise: AdamW makes it +-lr
NOISE = 1e-4  # of a tensor's mean absolute gradient: below it, an element's is taken for noise


def _load(
    oracle: Path, name: str, captions: CaptionConfig | None = None
) -> tuple[Ram, dict[str, Any]]:
    """Return a model in evaluation mode, as the oracle's training step wants it, and the step."""
    model, _ = load_official(oracle / f"{name}_tiny.pth", captions=captions)
    return model, torch.load(oracle / f"{name}_tiny.out.pt", weights_only=True)["train"]


def _check(model: Ram, losses: Losses, step: dict[str, Any]) -> None:
    _check_losses(losses, step["losses"], step["total"])
    losses.total.backward()
    _check_gradients(model, step["grad_norm_param"])
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
    state = model.state_dict(keep_vars=True)
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
    if official.endswith(".key.bias"):
        return NOISE_STEP * tensor.numel()
    if tensor.grad is None:
        return SUM_TOLERANCE
    sizes = tensor.grad.abs()
    # an exact zero (a word that no text holds) is no noise: it does not step
    num_noise = ((sizes > 0) & (sizes < NOISE * sizes.mean())).sum().item()
    return SUM_TOLERANCE + NOISE_STEP * num_noise


def test_ram_plus_losses_gradients_and_one_step(oracle: Path, oracle_images: Tensor) -> None:
    model, step = _load(oracle, "ram_plus")
    assert isinstance(model, RamPlus)

    losses = ram_plus_losses(
        model,
        oracle_images[:2],
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


def test_ram_losses_gradients_and_one_step(
    oracle: Path,
    oracle_images: Tensor,
    oracle_captions: CaptionConfig,
    captions: CaptionBatch,
) -> None:
    model, step = _load(oracle, "ram", oracle_captions)

    losses = ram_losses(model, oracle_images[:2], step["image_tag"], step["clip_feature"], captions)

    _check(model, losses, step)


def test_tag2text_losses_gradients_and_one_step(
    oracle: Path,
    oracle_images: Tensor,
    oracle_captions: CaptionConfig,
    captions: CaptionBatch,
) -> None:
    model, step = _load(oracle, "tag2text", oracle_captions)
    assert isinstance(model, Tag2Text)

    losses = tag2text_losses(model, oracle_images[:2], step["parse_tag"], captions)

    _check(model, losses, step)


def test_ram_without_captions(oracle: Path, oracle_images: Tensor) -> None:
    model, step = _load(oracle, "ram")

    losses = ram_losses(model, oracle_images[:2], step["image_tag"], step["clip_feature"])

    theirs = {name: step["losses"][name] for name in ("loss_tag", "loss_dis")}
    _check_losses(losses, theirs, sum(theirs.values()))

import math

import pytest
import torch

from ram_model.training.losses import (
    alignment_loss,
    as_large_as,
    asymmetric_loss,
    caption_loss,
    distillation_loss,
)


def _by_hand(logit: float, target: int, gamma_neg: float, clip: float = 0.05) -> float:
    p = 1 / (1 + math.exp(-logit))
    if target:
        return -math.log(max(p, 1e-8))
    n = min(1 - p + clip, 1.0)
    return -((1 - n) ** gamma_neg) * math.log(max(n, 1e-8))


@pytest.mark.parametrize("gamma_neg", [7.0, 4.0])
def test_equals_the_definition_and_is_a_sum(gamma_neg: float) -> None:
    logits = torch.tensor([[2.0, -1.0, 0.3], [-4.0, 5.0, -30.0]])
    targets = torch.tensor([[1, 0, 0], [0, 0, 1]])
    expected = sum(
        _by_hand(x, y, gamma_neg)
        for row, marks in zip(logits.tolist(), targets.tolist(), strict=True)
        for x, y in zip(row, marks, strict=True)
    )
    loss = asymmetric_loss(logits, targets, gamma_neg=gamma_neg)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_weight_carries_no_gradient() -> None:
    logit = torch.tensor([[1.5]], requires_grad=True)
    asymmetric_loss(logit, torch.tensor([[0.0]])).backward()
    p = 1 / (1 + math.exp(-1.5))
    n = 1 - p + 0.05
    # d/dx of -w ln(n) with w held fixed; dn/dx = -p (1 - p)
    expected = (1 - n) ** 7 * p * (1 - p) / n
    assert logit.grad is not None
    assert logit.grad.item() == pytest.approx(expected, rel=1e-5)


def test_easy_negatives_are_free() -> None:
    logits = torch.full((2, 3), -10.0)
    assert asymmetric_loss(logits, torch.zeros(2, 3)).item() == 0


def test_leaves_the_gradient_mode_alone() -> None:
    with torch.no_grad():
        asymmetric_loss(torch.zeros(1, 1), torch.zeros(1, 1))
        assert not torch.is_grad_enabled()


def test_half_precision_logits_are_summed_in_full() -> None:
    logits = torch.full((64, 64), 0.5, dtype=torch.bfloat16)
    loss = asymmetric_loss(logits, torch.ones(64, 64))
    assert loss.dtype == torch.float32
    assert loss.item() == pytest.approx(64 * 64 * _by_hand(0.5, 1, 7), rel=1e-4)


def test_distillation_is_the_mean_absolute_difference() -> None:
    ours, teacher = torch.tensor([[1.0, -2.0]]), torch.tensor([[0.5, 1.0]])
    assert distillation_loss(ours, teacher).item() == pytest.approx((0.5 + 3.0) / 2)


def test_alignment_wants_the_diagonal() -> None:
    logits = torch.tensor([[1.0, -1.0], [0.5, 2.0]])
    expected = _by_hand(1.0, 1, 4) + _by_hand(-1.0, 0, 4) + _by_hand(0.5, 0, 4) + _by_hand(2, 1, 4)
    assert alignment_loss(logits).item() == pytest.approx(expected, rel=1e-5)


def _smoothed(row: torch.Tensor, target: int) -> float:
    """Cross entropy with a tenth of the target spread evenly over all word pieces."""
    log_p = (row - row.exp().sum().log()).tolist()
    return -0.9 * log_p[target] - 0.1 * sum(log_p) / len(log_p)


def test_caption_loss_scores_the_next_piece_from_the_fifth_on() -> None:
    logits = torch.randn(2, 7, 11, generator=torch.Generator().manual_seed(0))
    pieces = torch.tensor([[9, 1, 2, 3, 4, 5, 0], [9, 3, 3, 8, 7, 0, 0]])  # padded with 0
    kept = [(0, 3, 4), (0, 4, 5), (1, 3, 7)]  # caption, position that predicts, target
    expected = sum(_smoothed(logits[b, i], target) for b, i, target in kept) / len(kept)
    assert caption_loss(logits, pieces).item() == pytest.approx(expected, rel=1e-5)
    assert pieces[0, 0] == 9  # the caller's ids are left alone


def test_captions_too_short_to_score_cost_nothing() -> None:
    logits = torch.randn(1, 4, 11, requires_grad=True)
    loss = caption_loss(logits, torch.tensor([[9, 1, 2, 3]]))
    loss.backward()
    assert loss.item() == 0
    assert logits.grad is not None
    assert logits.grad.abs().max() == 0


def test_scaled_loss_has_the_other_value_and_its_own_gradient() -> None:
    x = torch.tensor(3.0, requires_grad=True)
    y = torch.tensor(5.0, requires_grad=True)
    scaled = as_large_as(x * x, y)
    scaled.backward()
    assert scaled.item() == pytest.approx(5.0)
    assert x.grad is not None
    assert x.grad.item() == pytest.approx(6.0 * 5 / 9)
    assert y.grad is None or y.grad == 0


@pytest.mark.parametrize(("loss", "other"), [(2.0, 0.0), (0.0, 2.0), (0.0, 0.0)])
def test_zero_losses_are_not_scaled(loss: float, other: float) -> None:
    x = torch.tensor(loss, requires_grad=True)
    scaled = as_large_as(x, torch.tensor(other))
    scaled.backward()
    assert (scaled.item(), x.grad) == (loss, torch.tensor(1.0))


def test_unknown_tags_cost_nothing_and_give_no_gradient() -> None:
    logits = torch.tensor([[2.0, -1.0, 0.3]], requires_grad=True)
    targets, known = torch.tensor([[1, 0, 0]]), torch.tensor([[True, False, True]])
    loss = asymmetric_loss(logits, targets, known=known)
    assert loss.item() == pytest.approx(_by_hand(2.0, 1, 7.0) + _by_hand(0.3, 0, 7.0), rel=1e-5)
    loss.backward()
    assert logits.grad is not None
    assert logits.grad[0, 1] == 0

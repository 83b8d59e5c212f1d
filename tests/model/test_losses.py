import math

import pytest
import torch

from ram_model.losses import asymmetric_loss


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

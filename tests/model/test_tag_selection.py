import numpy as np
import pytest
import torch

from ram_model.errors import ModelOutputError
from ram_model.tag_selection import TagSelection

NAMES = ("a", "b", "c", "d", "e", "f")


def _selection(
    thresholds: list[float],
    tag_ids: list[int],
    *,
    top_k: int | None = None,
    score_floor: float | None = None,
) -> TagSelection:
    return TagSelection(
        tag_ids=tag_ids,
        thresholds=np.array(thresholds, dtype=np.float32),
        names=NAMES,
        top_k=top_k,
        score_floor=score_floor,
    )


def _logit(*scores: float) -> torch.Tensor:
    return torch.logit(torch.tensor(scores, dtype=torch.float64)).float()


def test_falling_scores_and_ascending_ids_on_ties() -> None:
    select = _selection([0.5] * 6, [0, 1, 2, 3, 4, 5])
    logits = torch.stack([_logit(0.6, 0.9, 0.6, 0.4, 0.9, 0.6), _logit(*[0.1] * 6)])
    first, second = select(logits)
    assert first.tag_ids.tolist() == [1, 4, 0, 2, 5]
    assert first.names == ["b", "e", "a", "c", "f"]
    assert first.scores.tolist() == pytest.approx([0.9, 0.9, 0.6, 0.6, 0.6])
    assert (first.tag_ids.dtype, first.scores.dtype) == (np.int32, np.float32)
    assert (len(second), second.names, second.tag_ids.tolist()) == (0, [], [])


def test_threshold_is_strict() -> None:
    (tags,) = _selection([0.5, 0.5], [0, 1])(torch.tensor([[0.0, 1e-6]]))
    assert tags.tag_ids.tolist() == [1]  # sigmoid(0) is 0.5, not above it


def test_switched_off_tags_never_fire() -> None:
    select = _selection([1.0, 0.5], [2, 4], score_floor=0.0)
    (tags,) = select(torch.tensor([[100.0, -100.0]]))  # the first score rounds to exactly 1
    assert tags.tag_ids.tolist() == [4]


def test_floor_keeps_scores_below_the_threshold_and_includes_itself() -> None:
    select = _selection([0.9, 0.9, 0.1], [0, 1, 5], score_floor=0.5)
    (tags,) = select(torch.tensor([[0.0, -0.001, -2.0]]))
    assert tags.tag_ids.tolist() == [0, 5]  # .5 by the floor, .12 by its own threshold


def test_top_k_keeps_the_best_of_each_image() -> None:
    select = _selection([0.1] * 4, [0, 1, 2, 3], top_k=2)
    rows = [_logit(0.2, 0.8, 0.3, 0.9), _logit(0.05, 0.05, 0.3, 0.05), _logit(0.5, 0.4, 0.3, 0.2)]
    assert [tags.tag_ids.tolist() for tags in select(torch.stack(rows))] == [[3, 1], [2], [0, 1]]


@pytest.mark.parametrize("bad", [float("nan"), float("inf"), float("-inf")])
def test_numbers_that_are_not_finite_are_an_error(bad: float) -> None:
    with pytest.raises(ModelOutputError, match="1 logits that are not finite"):
        _selection([0.5, 0.5], [0, 1])(torch.tensor([[0.0, bad]]))


def test_scores_are_fp32_whatever_the_network_is() -> None:
    (tags,) = _selection([0.5], [0])(torch.tensor([[2.5]], dtype=torch.bfloat16))
    assert tags.scores[0] == torch.sigmoid(torch.tensor(2.5)).item()

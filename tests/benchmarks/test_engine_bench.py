import numpy as np
import pytest
import torch
from torch.nn import functional as F

from benchmarks.engine_bench.heads import VALUE_DECAY, Head, window_logits, window_masks
from benchmarks.engine_bench.measures import interval, label_measures, recall_at


def test_the_gradient_by_hand_is_the_gradient():
    torch.manual_seed(0)
    tokens, targets = torch.randn(8, 9, 5), (torch.rand(8, 3) < 0.3).float()
    head = Head(5, 3, seed=0)
    head.backward(tokens, targets, "bce", 0)
    by_hand = [parameter.grad.clone() for parameter in head.parameters]
    for parameter in head.parameters:
        parameter.grad = None
    loss = F.binary_cross_entropy_with_logits(head.logits(tokens), targets, reduction="sum") / 8
    (loss + VALUE_DECAY * (head.value**2).sum()).backward()
    for given, parameter in zip(by_hand, head.parameters, strict=True):
        torch.testing.assert_close(given, parameter.grad)


def test_a_window_of_the_whole_grid_scores_as_the_image():
    tokens = np.random.default_rng(0).normal(size=(2, 9, 5)).astype(np.float32)
    head = Head(5, 3, seed=0)
    whole = window_logits([head], tokens, window_masks(3, (3,)))
    torch.testing.assert_close(torch.from_numpy(whole[:, 0]), head.logits(torch.from_numpy(tokens)))


def test_label_measures_count_what_was_added_and_removed():
    truth = np.array([[1, 1, 1, 0, 0]], bool)
    observed = np.array([[1, 0, 0, 1, 0]], bool)
    final = np.array([[0, 1, 0, 0, 1]], bool)
    found = label_measures(truth, observed, final)
    assert found["precision"] == pytest.approx(1 / 2)
    assert found["recall"] == pytest.approx(1 / 3)
    assert found["added_precision"] == pytest.approx(1 / 2)
    assert found["recovered"] == pytest.approx(1 / 2)
    assert found["removed_precision"] == pytest.approx(1 / 2)
    assert found["removed_recall"] == 1
    assert found["over_removal"] == 1


def test_recall_at_an_over_removal_ranks_wrong_above_right():
    truth = np.array([[0, 0, 1, 1, 1, 1]], bool)
    observed = np.ones_like(truth)
    suspicion = np.array([[9.0, 2.5, 3.0, 2.0, 1.0, 0.0]])
    assert recall_at(truth, observed, suspicion, 0.0) == 0.5
    assert recall_at(truth, observed, suspicion, 0.5) == 1


def test_one_seed_has_no_interval():
    assert interval([0.5]) == {"mean": 0.5}
    assert interval([0.4, 0.6])["low"] < 0.4

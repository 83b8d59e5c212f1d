"""The job that compares ram-mini's teachers, without its data."""

from pathlib import Path

import numpy as np
import pytest

from research.ram_mini.ablate import ARMS, gains, read_results
from research.ram_mini.package import figures
from research.ram_mini.train import TEACHERS


def test_gains_compare_on_the_same_photos() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 6)) < 0.3).astype(np.float32)
    poor = truth + rng.normal(0, 1.5, truth.shape)
    better = poor + 0.2 * truth
    found = gains(truth, better, {"itself": better, "poor": poor})
    assert found["itself"] == [0, 0, 0]
    gain, low, high = found["poor"]
    assert 0 < low < gain < high
    single = figures(truth, better)["interval"]
    assert high - low < (single[1] - single[0]) / 2


def test_arms_leave_out_teachers_that_there_are() -> None:
    assert {name for without in ARMS.values() for name in without} == set(TEACHERS)
    assert set(ARMS["captions only"]) == set(TEACHERS)


def test_what_was_measured_is_not_measured_again(tmp_path: Path) -> None:
    assert read_results(tmp_path) == []
    (tmp_path / "results.jsonl").write_text('{"run": "a, seed 0"}\n{"run": "b, seed 0"}\n')
    assert read_results(tmp_path) == ["a, seed 0", "b, seed 0"]


def test_a_column_of_equal_scores_counts_with_its_prior() -> None:
    truth = np.zeros((40, 2), np.float32)
    truth[:10] = 1
    found = figures(truth, np.stack([truth[:, 0], np.zeros(40)], 1))
    assert found["map"] == pytest.approx((1 + 0.25) / 2)

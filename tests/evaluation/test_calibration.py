from dataclasses import replace

import numpy as np
import pytest

from benchmarks.calibration import simulate
from ram_ray.errors import ConfigError
from ram_ray.evaluation.calibration import choose_thresholds
from ram_ray.evaluation.config import CalibrationConfig


def _separable(num_images: int, num_positives: int) -> tuple[np.ndarray, np.ndarray]:
    labels = np.zeros((num_images, 1), np.int8)
    labels[:num_positives] = 1
    scores = np.linspace(0.9, 0.1, num_images)[:, None]
    return labels, scores


def test_promises_are_kept_on_scorers_of_known_truth() -> None:
    for target in (0.5, 0.9):
        result = simulate(target, draws=8)
        assert result["kept"] >= 0.9
        assert result["found"] >= 0.7


def test_threshold_stands_where_the_positives_end() -> None:
    labels, scores = _separable(1000, 200)
    (tag,) = choose_thresholds(labels, scores)
    assert tag.outcome == "given"
    # the widest of the looks that is still right often enough: 5 x 1.6^k firings
    assert 0.5 < tag.recall <= 1
    assert (scores[:, 0] > tag.threshold).sum() == tag.num_firings
    assert tag.precision >= tag.precision_bound >= 0.9


def test_verified_high_scores_do_not_flatter_a_threshold() -> None:
    generator = np.random.default_rng(0)
    scores = generator.random((20_000, 1))
    present = generator.random(scores.shape) < scores  # calibrated: above t, (1 + t) / 2 are right
    verified = generator.random(scores.shape) < np.where(scores > 0.9, 1.0, 0.1)
    labels = np.where(verified, present, -1).astype(np.int8)
    (tag,) = choose_thresholds(labels, scores, CalibrationConfig(target_precision=0.8))
    assert tag.outcome == "given"
    true_precision = (1 + tag.threshold) / 2
    assert tag.precision == pytest.approx(true_precision, abs=0.03)  # 0.08 too much unweighted


@pytest.mark.parametrize(
    ("labels", "outcome"),
    [
        (np.zeros(100), "no_positives"),
        (np.full(100, -1), "no_positives"),
        (np.r_[1, 0, 1, np.full(97, -1)], "too_few_firings"),
        (np.r_[np.tile([0, 1], 50)], "target_not_reached"),
    ],
)
def test_tags_abstain_and_say_why(labels: np.ndarray, outcome: str) -> None:
    scores = np.linspace(0.9, 0.1, 100)[:, None]
    (tag,) = choose_thresholds(labels.astype(np.int8)[:, None], scores)
    assert (tag.outcome, tag.threshold, tag.num_firings) == (outcome, 1.0, 0)


def test_no_threshold_inside_a_tie() -> None:
    labels, scores = _separable(1000, 200)
    tied = np.where(scores > 0.5, 0.75, 0.25)  # 500 images, 200 of them right
    (tag,) = choose_thresholds(labels, tied, CalibrationConfig(target_precision=0.3))
    assert (tag.num_firings, tag.threshold) == (500, 0.5)


def test_wrong_settings_and_shapes_are_refused() -> None:
    labels, scores = _separable(10, 2)
    with pytest.raises(ConfigError, match=r"target_precision is 1\.2, but must be between 0 and 1"):
        replace(CalibrationConfig(), target_precision=1.2)
    with pytest.raises(ValueError, match="labels is"):
        choose_thresholds(labels[:5], scores)
    with pytest.raises(ValueError, match="between 0 and 1"):
        choose_thresholds(labels, scores + 1)

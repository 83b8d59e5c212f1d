"""Held-out figures of the COCO calibration."""

import numpy as np

from benchmarks.coco_calibration import FOLDS, hold_out
from ram_ray.evaluation.config import CalibrationConfig


def test_each_photo_is_held_out_once() -> None:
    rng = np.random.default_rng(0)
    truth = (rng.random((200, 2)) < 0.5).astype(np.int8)
    scores = np.stack([0.3 + 0.4 * truth[:, 0], rng.random(200)], axis=1)
    scores[:, 0] += rng.uniform(0, 0.2, 200)
    held = hold_out(truth, scores, CalibrationConfig(target_precision=0.9))
    assert held.given.tolist() == [FOLDS, 0]  # the second column is a guess
    assert 0 < held.fired[0] == held.right[0] <= truth[:, 0].sum()
    assert held.fired[1] == 0

"""Per-tag thresholds that keep a promise about precision, from partly labelled images.

`choose_thresholds` gives each tag the lowest threshold whose precision is shown, with confidence,
to reach the target; a tag that cannot show it abstains (threshold 1.0, never given). Unverified
labels are left out, never taken for absent: verification may depend on the score (people confirm
what a model proposed), but at equal scores not on the answer.

How it is done, and why:

- The precision of "score above t" is bounded from below by the `1 - confidence` quantile of its
  Beta posterior. The prior is what all tags together show at the same scores, worth
  `PRIOR_FIRINGS` firings: a rare tag leans on it, a frequent one does not notice it.
- Where high scores are verified more often, the verified images above t are surer than all images
  above t. Each counts by the inverse of how often its score is verified, over all tags.
- Thresholds are tried where the number of firings grows by `LOOK_RATIO`, from the highest down, up
  to the first that fails after one has passed: a finer search finds more lucky thresholds.

How often promises are kept: benchmarks/results/2026-11-25-calibration.md.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.stats import beta

from ram_model.metrics import PRESENT, UNVERIFIED
from ram_ray.evaluation.config import CalibrationConfig

PRIOR_FIRINGS = 2.0
LOOK_RATIO = 1.6
POOL_BINS = 40
ABSTAIN = 1.0  # a score is never above it

Outcome = Literal["given", "no_positives", "too_few_firings", "target_not_reached"]


@dataclass(frozen=True, kw_only=True, slots=True)
class TagThreshold:
    """The threshold of one tag and what is known about it."""

    threshold: float
    """0..1, the tag is given above it; 1.0 where it abstains."""
    outcome: Outcome
    """`given`, or why the tag abstains."""
    num_positives: int
    """Images known to carry the tag."""
    num_firings: int
    """Labelled images above the threshold; 0 where it abstains."""
    precision: float
    """Estimated share of right ones above the threshold; NaN where it abstains."""
    precision_bound: float
    """The bound that reached the target; where none did, the best bound seen; NaN without any."""
    recall: float
    """Estimated share of the positives above the threshold; 0 where it abstains."""


def choose_thresholds(
    labels: np.ndarray, scores: np.ndarray, config: CalibrationConfig | None = None
) -> list[TagThreshold]:
    """Return one threshold per tag.

    Args:
        labels: int8 [N, C]: 1 present, 0 absent, -1 unverified. Use images the model has not
            been trained on, and measure the result on others.
        scores: float [N, C], 0..1.

    Raises:
        ValueError: the shapes differ, or a score is not in 0..1.
        ConfigError: as CalibrationConfig.
    """
    if labels.shape != scores.shape:
        raise ValueError(f"labels is {labels.shape}, but scores is {scores.shape}.")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("scores must be between 0 and 1.")
    config = config or CalibrationConfig()
    pool = Pool.of(labels, scores)
    columns = range(labels.shape[1])
    return [_of_tag(labels[:, c], scores[:, c], pool, config) for c in columns]


@dataclass(frozen=True, kw_only=True, slots=True)
class Pool:
    """What all tags together show, by score bin [POOL_BINS]."""

    right: np.ndarray
    """Share of right ones among the labelled, 0..1; never falls as the score grows."""
    verified: np.ndarray
    """Share of labelled ones, 0..1."""

    @classmethod
    def of(cls, labels: np.ndarray, scores: np.ndarray) -> "Pool":
        """Count labels [N, C] by their scores [N, C]."""
        bins = np.clip((scores * POOL_BINS).astype(int), 0, POOL_BINS - 1).ravel()
        known, present = (labels != UNVERIFIED).ravel(), (labels == PRESENT).ravel()
        total = np.bincount(bins, minlength=POOL_BINS)
        labelled = np.bincount(bins, known, POOL_BINS)
        share = (np.bincount(bins, present, POOL_BINS) + 0.5) / (labelled + 1)
        return cls(right=np.maximum.accumulate(share), verified=(labelled + 0.5) / (total + 1))


def _of_tag(
    labels: np.ndarray, scores: np.ndarray, pool: Pool, config: CalibrationConfig
) -> TagThreshold:
    known = labels != UNVERIFIED
    order = np.argsort(-scores[known], kind="stable")
    ranked, present = scores[known][order], labels[known][order] == PRESENT
    num_positives = int(present.sum())
    if num_positives == 0:
        return _abstain("no_positives", 0)
    firings = _looks(ranked, config.least_firings)
    if len(firings) == 0:
        return _abstain("too_few_firings", num_positives)
    weights = 1 / _at(pool.verified, ranked)
    total = np.cumsum(weights)[firings - 1]
    precision = np.cumsum(weights * present)[firings - 1] / total
    expected = np.cumsum(weights * _at(pool.right, ranked))[firings - 1] / total
    # Kish's effective size: how many equally weighted images would be as uncertain
    effective = total**2 / np.cumsum(weights**2)[firings - 1]
    bounds = beta.ppf(
        1 - config.confidence,
        effective * precision + PRIOR_FIRINGS * expected,
        effective * (1 - precision) + PRIOR_FIRINGS * (1 - expected),
    )
    chosen = _last_of_first_run(bounds >= config.target_precision)
    if chosen is None:
        return _abstain("target_not_reached", num_positives, float(bounds.max()))
    count = int(firings[chosen])
    return TagThreshold(
        threshold=float((ranked[count - 1] + ranked[count]) / 2),
        outcome="given",
        num_positives=num_positives,
        num_firings=count,
        precision=float(precision[chosen]),
        precision_bound=float(bounds[chosen]),
        recall=float(np.sum(weights[:count] * present[:count]) / np.sum(weights * present)),
    )


def _at(column: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return a column of the pool at these scores, linear between the centres of its bins."""
    return np.interp(scores, (np.arange(POOL_BINS) + 0.5) / POOL_BINS, column)


def _looks(ranked: np.ndarray, least: int) -> np.ndarray:
    """Return the numbers of firings to look at: about `LOOK_RATIO` apart, never inside a tie."""
    ends = np.flatnonzero(ranked[1:] < ranked[:-1]) + 1  # a threshold fits below each of these
    ends = ends[ends >= least]
    chosen: list[int] = []
    wanted = float(least)
    for end in ends.tolist():
        if end >= wanted:
            chosen.append(end)
            wanted = end * LOOK_RATIO
    return np.array(chosen, dtype=np.int64)


def _last_of_first_run(passed: np.ndarray) -> int | None:
    hits = np.flatnonzero(passed)
    if len(hits) == 0:
        return None
    later_misses = np.flatnonzero(~passed[hits[0] :])
    return int(hits[0] + later_misses[0] - 1) if len(later_misses) else len(passed) - 1


def _abstain(outcome: Outcome, num_positives: int, bound: float = float("nan")) -> TagThreshold:
    return TagThreshold(
        threshold=ABSTAIN,
        outcome=outcome,
        num_positives=num_positives,
        num_firings=0,
        precision=float("nan"),
        precision_bound=bound,
        recall=0.0,
    )

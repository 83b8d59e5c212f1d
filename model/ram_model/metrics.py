"""Measures of multi-label tagging, for labels that may be unknown.

Labels are int8 [N, C] over N images and C tags: 1 present, 0 absent, -1 nobody looked
(`UNVERIFIED`). An unverified label is left out of every measure; `assume_absent` turns it into an
absent one first, which is how the RAM papers score OpenImages (and why a tagger that is right
about things nobody listed looks wrong there).

Ties: images of equal score enter the ranking together, so no measure depends on the order of
rows. This is scikit-learn's rule; the reference implementation breaks ties by an unstable sort.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

PRESENT, ABSENT, UNVERIFIED = 1, 0, -1


def average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the non-interpolated average precision of one tag, 0..1.

    It is the sum over distinct scores, best first, of precision times the gain in recall.

    Args:
        labels: int8 [N], 1, 0 or -1.
        scores: [N], finite; only their order matters.

    Returns:
        NaN where no image is known to carry the tag: there is nothing to rank.

    Raises:
        ValueError: the lengths differ, or a score is not finite.
    """
    _check(labels, scores)
    known = labels != UNVERIFIED
    present = labels[known] == PRESENT
    if not present.any():
        return float("nan")
    order = np.argsort(-scores[known], kind="stable")
    ranked = scores[known][order]
    last_of_tie = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    right = np.cumsum(present[order])[last_of_tie]
    precision = right / (last_of_tie + 1)
    return float(np.sum(precision * np.diff(right, prepend=0)) / right[-1])


def average_precisions(labels: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return float64 [C], the average precision of each tag of [N, C]; NaN as there."""
    _check(labels, scores)
    columns = range(labels.shape[1])
    return np.array([average_precision(labels[:, c], scores[:, c]) for c in columns])


def mean_average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return the macro mAP over the tags that have a known positive; NaN if none has."""
    values = average_precisions(labels, scores)
    known = ~np.isnan(values)
    return float(values[known].mean()) if known.any() else float("nan")


def reference_mean_average_precision(labels: np.ndarray, scores: np.ndarray) -> float:
    """Return mAP as the RAM papers compute it (`get_mAP` of recognize-anything).

    Unverified labels count as absent, and a tag without positives counts with 0. Ties are the one
    difference: upstream leaves their order to the sort.
    """
    values = average_precisions(assume_absent(labels), scores)
    return float(np.nan_to_num(values, nan=0.0).mean())


def assume_absent(labels: np.ndarray) -> np.ndarray:
    """Return a copy of the labels in which unverified ones are absent."""
    return np.where(labels == UNVERIFIED, ABSENT, labels).astype(np.int8)


@dataclass(frozen=True, kw_only=True, slots=True)
class DecisionScores:
    """Precision, recall and F1 of yes/no decisions, 0..1.

    `class_*` average over tags, `overall_*` pool all decisions. A tag that was never given has
    precision 0, as in the RAM papers; a tag without known positives does not count in the class
    means. F1 is 2PR/(P+R) of the averaged P and R (CF1 and OF1).
    """

    class_precision: float
    class_recall: float
    class_f1: float
    overall_precision: float
    overall_recall: float
    overall_f1: float
    num_tags: int
    """Tags with a known positive, over which the class means go."""
    tags_per_image: float
    """Mean number of tags given, unverified ones included."""


def decision_scores(labels: np.ndarray, given: np.ndarray) -> DecisionScores:
    """Return the measures of `given`, bool [N, C], against labels [N, C]."""
    if labels.shape != given.shape:
        raise ValueError(f"labels is {labels.shape}, but given is {given.shape}.")
    right = (given & (labels == PRESENT)).sum(0)
    fired = (given & (labels != UNVERIFIED)).sum(0)
    present = (labels == PRESENT).sum(0)
    counted = present > 0
    precision = _ratio(right, fired)[counted]
    recall = _ratio(right, present)[counted]
    class_p = float(precision.mean()) if counted.any() else 0.0
    class_r = float(recall.mean()) if counted.any() else 0.0
    overall_p = float(_ratio(right.sum(), fired.sum()))
    overall_r = float(_ratio(right.sum(), present.sum()))
    return DecisionScores(
        class_precision=class_p,
        class_recall=class_r,
        class_f1=_f1(class_p, class_r),
        overall_precision=overall_p,
        overall_recall=overall_r,
        overall_f1=_f1(overall_p, overall_r),
        num_tags=int(counted.sum()),
        tags_per_image=float(given.sum() / max(len(given), 1)),
    )


def expected_calibration_error(labels: np.ndarray, scores: np.ndarray, num_bins: int = 15) -> float:
    """Return the mean distance between score and share of right tags, weighted by bin size.

    Equal-width bins over 0..1 (Guo et al. 2017, arXiv 1706.04599), all known labels pooled.
    """
    _check(labels, scores)
    known = labels != UNVERIFIED
    present, probability = labels[known] == PRESENT, scores[known]
    bins = np.clip((probability * num_bins).astype(int), 0, num_bins - 1)
    count = np.bincount(bins, minlength=num_bins)
    gap = np.bincount(bins, present, num_bins) - np.bincount(bins, probability, num_bins)
    return float(np.abs(gap).sum() / max(count.sum(), 1))


def bootstrap_interval(
    measure: Callable[[np.ndarray], float],
    num_images: int,
    *,
    num_draws: int = 200,
    confidence: float = 0.95,
    seed: int = 0,
    bounds: tuple[float, float] = (-float("inf"), float("inf")),
) -> tuple[float, float]:
    """Return the interval of a measure under resampling of images.

    It is centred on the measure of all images, with the deviation of the draws: average precision
    rises when a positive is drawn twice, so percentiles of the draws would lie too high.

    Args:
        measure: takes row numbers [N] (with repeats), returns a number; NaN draws are left out.
        num_images: N.
        bounds: what the measure can be; the ends stay within.
    """
    from statistics import NormalDist

    generator = np.random.default_rng(seed)
    draws = [measure(generator.integers(0, num_images, num_images)) for _ in range(num_draws)]
    centre = measure(np.arange(num_images))
    margin = NormalDist().inv_cdf(0.5 + confidence / 2) * float(np.nanstd(draws))
    low, high = np.clip([centre - margin, centre + margin], *bounds)
    return float(low), float(high)


def _ratio(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    return np.divide(part, whole, out=np.zeros_like(part, dtype=np.float64), where=whole > 0)


def _f1(precision: float, recall: float) -> float:
    total = precision + recall
    return 2 * precision * recall / total if total else 0.0


def _check(labels: np.ndarray, scores: np.ndarray) -> None:
    if labels.shape != scores.shape:
        raise ValueError(f"labels is {labels.shape}, but scores is {scores.shape}.")
    if not np.isfinite(scores).all():
        raise ValueError("scores holds a value that is not finite.")

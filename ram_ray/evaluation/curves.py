"""The three plots of an evaluation as points: precision over recall, reliability, histogram."""

import numpy as np

from ram_model.metrics import PRESENT, UNVERIFIED

Points = list[tuple[float, float]]


def precision_over_recall(labels: np.ndarray, scores: np.ndarray, num_points: int = 100) -> Points:
    """Return (recall, precision) of all known decisions pooled, at one threshold for all tags."""
    known = labels != UNVERIFIED
    present = labels[known] == PRESENT
    if not present.any():
        return []
    order = np.argsort(-scores[known], kind="stable")
    ranked = scores[known][order]
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True))
    right = np.cumsum(present[order])[ends]
    recall, precision = right / right[-1], right / (ends + 1)
    chosen = np.unique(
        np.searchsorted(recall, np.linspace(0, 1, num_points)).clip(max=len(ends) - 1)
    )
    return [(float(recall[i]), float(precision[i])) for i in chosen]


def reliability(labels: np.ndarray, scores: np.ndarray, num_bins: int = 10) -> Points:
    """Return (mean score, share of right tags) of each bin of scores with a known label."""
    known = labels != UNVERIFIED
    present, probability = labels[known] == PRESENT, scores[known]
    bins = np.clip((probability * num_bins).astype(int), 0, num_bins - 1)
    return [
        (float(probability[bins == b].mean()), float(present[bins == b].mean()))
        for b in range(num_bins)
        if (bins == b).any()
    ]


def score_histogram(
    labels: np.ndarray, scores: np.ndarray, num_bins: int = 20
) -> dict[str, list[float]]:
    """Return the share of all present, and of all absent labels, in each bin of scores."""
    edges = np.linspace(0, 1, num_bins + 1)
    shares = {}
    for name, value in (("present", 1), ("absent", 0)):
        count, _ = np.histogram(scores[labels == value], edges)
        shares[name] = (count / max(count.sum(), 1)).tolist()
    return shares

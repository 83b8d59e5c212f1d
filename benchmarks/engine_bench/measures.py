"""What a label set is worth: against the truth, and by a model trained on it."""

from typing import Any

import numpy as np

from ram_model.metrics import average_precision, average_precisions, decision_scores

RARE_SHARE = 1 / 3
"""The rarer third of the tags, by what the captions of the training images name."""


def label_measures(truth: np.ndarray, observed: np.ndarray, final: np.ndarray) -> dict[str, Any]:
    """Return precision, recall and F1 of a label set, of what it added and of what it removed.

    All are bool [N, T]; numbers are shares, None where nothing was added or removed.
    """
    added, removed = final & ~observed, observed & ~final
    wrong, right, missing = observed & ~truth, observed & truth, truth & ~observed
    precision, recall = _share(final & truth, final), _share(final & truth, truth)
    return {
        "tags_per_image": float(final.sum() / len(final)),
        "precision": precision,
        "recall": recall,
        "f1": 2 * precision * recall / max(precision + recall, 1e-12),
        "added": int(added.sum()),
        "added_precision": _share(added & truth, added),
        "recovered": _share(added & missing, missing),
        "removed": int(removed.sum()),
        "removed_precision": _share(removed & wrong, removed),
        "removed_recall": _share(removed & wrong, wrong),
        "over_removal": _share(removed & right, right),
    }


def suspicion_measures(
    truth: np.ndarray, observed: np.ndarray, suspicion: np.ndarray
) -> dict[str, float]:
    """Return how well suspicion float [N, T] ranks the wrong tags among the observed."""
    wrong, values = (~truth)[observed], suspicion[observed]
    order = np.argsort(-values, kind="stable")
    ranked = wrong[order]
    over = np.cumsum(~ranked) / max(1, int((~wrong).sum()))
    recall = np.cumsum(ranked) / max(1, int(wrong.sum()))
    measures = {"auprc": average_precision(wrong.astype(np.int8), values)}
    for limit in (0.02, 0.04, 0.06, 0.08, 0.1):
        at = max(0, int(np.searchsorted(over, limit, side="right")) - 1)
        measures[f"recall_at_over_removal_{limit:.2f}"] = float(recall[at])
    return measures


def recall_at(
    truth: np.ndarray, observed: np.ndarray, suspicion: np.ndarray, over_removal: float
) -> float:
    """Return the share of wrong tags that rank above the given share of right ones."""
    wrong, values = (~truth)[observed], suspicion[observed]
    limit = np.quantile(values[~wrong], 1 - over_removal) if (~wrong).any() else -np.inf
    return float((values[wrong] > limit).mean()) if wrong.any() else float("nan")


def model_measures(scores: np.ndarray, truth: np.ndarray, rare: np.ndarray) -> dict[str, float]:
    """Return measures of a model on a clean test.

    Args:
        scores: float [N, T].
        truth: bool [N, T].
        rare: bool [T].
    """
    labels = truth.astype(np.int8)
    values = average_precisions(labels, scores)
    decided = decision_scores(labels, scores > 0.5)
    return {
        "map": float(np.nanmean(values)),
        "map_rare": float(np.nanmean(values[rare])),
        "cf1_at_0.5": decided.class_f1,
        "of1_at_0.5": decided.overall_f1,
        "tags_per_image": decided.tags_per_image,
    }


def rare_tags(observed: np.ndarray) -> np.ndarray:
    """Return bool [T], the rarer third."""
    counts = observed.sum(0)
    return counts <= np.quantile(counts, RARE_SHARE)


def interval(values: list[float]) -> dict[str, float]:
    """Return mean and 95 % interval over seeds (Student's t); no interval of one seed."""
    from scipy.stats import t

    known = np.array([v for v in values if v is not None and np.isfinite(v)], np.float64)
    if len(known) < 2:
        return {"mean": float(known.mean()) if len(known) else float("nan")}
    margin = float(t.ppf(0.975, len(known) - 1) * known.std(ddof=1) / np.sqrt(len(known)))
    mean = float(known.mean())
    return {"mean": mean, "low": mean - margin, "high": mean + margin}


def _share(part: np.ndarray, whole: np.ndarray) -> float:
    count = int(whole.sum())
    return float(part.sum() / count) if count else float("nan")

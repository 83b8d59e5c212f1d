"""Known weak points of taggers, measured: numbers, close siblings, and bias amplification.

Each figure has a 95 % interval from resampled images; a part without the tags it needs says so.
Unverified labels are left out everywhere.

- Numbers: average precision of number words, beside what knowing their frequency is worth.
- Siblings: of two similar tags, how often an image of only the first leans further to the first
  than an image of only the second does (ROC AUC of the difference in log-odds). 0.5 is guessing.
  Which of the two scores higher would say only which is more frequent.
- Bias amplification (Zhao et al. 2017, arXiv 1707.09457): for each activity, the share of women
  among the images of a man or a woman that show it. The group that has more than its even share in
  the labels is looked up in the predictions; the mean difference over activities is the
  amplification, above 0 where the model exaggerates. Each tag is given to as many images as carry
  it, the best scored ones, so that thresholds play no part.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from scipy.stats import rankdata

from ram_model.metrics import (
    ABSENT,
    PRESENT,
    UNVERIFIED,
    average_precision,
    bootstrap_interval,
)

NUMBER_WORDS = (
    "one two three four five six seven eight nine ten several many few single pair double "
    "triple both couple"
).split()
GROUPS = ("man", "woman")
SIBLINGS: tuple[tuple[str, ...], ...] = (
    ("dog", "cat", "horse", "cow", "sheep", "bear", "zebra", "giraffe", "elephant", "bird"),
    ("car", "truck", "bus", "train", "motorcycle", "bicycle", "boat", "airplane"),
    ("skateboard", "snowboard", "surfboard", "ski"),
    ("skateboarder", "snowboarder", "surfer", "skier", "cyclist", "climber"),
    ("soccer", "football", "basketball", "baseball", "tennis", "hockey"),
    ("jacket", "coat", "shirt", "sweater", "sweatshirt", "vest"),
    ("lake", "river", "ocean", "pond", "pool"),
    ("boy", "girl"),
    ("man", "woman"),
    ("fork", "knife", "spoon"),
    ("couch", "chair", "bench", "bed"),
    ("apple", "orange", "banana"),
)
"""Compared where the vocabulary names no parents: sets of the plain English tags that models most
often confuse, by our choice."""
LEAST_IMAGES = 10
"""A pair, or an activity, of fewer images is left out: its share would be noise."""
_LEAST_SCORE = 1e-6  # float32 scores of 0 and 1 have no log-odds


@dataclass(frozen=True, kw_only=True, slots=True)
class LimitsInput:
    """What the report needs of scored images; columns as in `ScoredImages`."""

    labels: np.ndarray
    """int8 [N, C]: 1, 0, -1."""
    scores: np.ndarray
    """float [N, C]."""
    names: tuple[str, ...]
    kinds: tuple[str, ...]
    siblings: tuple[tuple[int, ...], ...] = ()
    """Sets of columns that share a parent; () takes `SIBLINGS`."""

    def column(self, name: str) -> int | None:
        """Return the column of a tag; None without it."""
        return self.names.index(name) if name in self.names else None


def measure_limits(given: LimitsInput, *, num_draws: int = 200, seed: int = 0) -> dict[str, Any]:
    """Return the three parts as plain numbers, texts, lists and dicts."""

    def interval(measure: Callable[[np.ndarray], float], least: float = 0.0) -> list[float] | None:
        low, high = bootstrap_interval(
            measure, len(given.labels), num_draws=num_draws, seed=seed, bounds=(least, 1.0)
        )
        return [low, high] if low == low else None

    def signed_interval(measure: Callable[[np.ndarray], float]) -> list[float] | None:
        return interval(measure, -1.0)

    return {
        "numbers": _numbers(given, interval),
        "siblings": _siblings(given, interval),
        "bias": _bias(given, signed_interval),
    }


_Interval = Callable[[Callable[[np.ndarray], float]], list[float] | None]


def _numbers(given: LimitsInput, interval: _Interval) -> list[dict[str, Any]]:
    found = []
    for word in NUMBER_WORDS:
        column = given.column(word)
        if column is None or not (given.labels[:, column] == PRESENT).any():
            continue
        labels, scores = given.labels[:, column], given.scores[:, column]
        known = labels != UNVERIFIED
        found.append(
            {
                "name": word,
                "positives": int((labels == PRESENT).sum()),
                "average_precision": average_precision(labels, scores),
                "interval": interval(
                    lambda rows, y=labels, s=scores: average_precision(y[rows], s[rows])
                ),
                "prior": float((labels[known] == PRESENT).mean()),
            }
        )
    return found


def _siblings(given: LimitsInput, interval: _Interval) -> dict[str, Any]:
    pairs = []
    for first, second in _sibling_pairs(given):
        decided = _decided(given.labels, first, second)
        if len(np.flatnonzero(decided)) < LEAST_IMAGES:
            continue
        if len(set(given.labels[decided, first])) < 2:
            continue  # one of the two never stands alone: nothing to tell apart
        pairs.append((first, second))

    def mean_share(rows: np.ndarray) -> float:
        labels, scores = given.labels[rows], given.scores[rows]
        shares = [_share_told_apart(labels, scores, pair) for pair in pairs]
        return float(np.nanmean(shares)) if not np.all(np.isnan(shares)) else float("nan")

    if not pairs:
        return {"pairs": []}
    everything = np.arange(len(given.labels))
    listed = [
        {
            "names": [given.names[first], given.names[second]],
            "images": int(_decided(given.labels, first, second).sum()),
            "told_apart": _share_told_apart(given.labels, given.scores, (first, second)),
            "interval": interval(
                lambda rows, p=(first, second): _share_told_apart(
                    given.labels[rows], given.scores[rows], p
                )
            ),
        }
        for first, second in pairs
    ]
    return {
        "told_apart": mean_share(everything),
        "interval": interval(mean_share),
        "pairs": sorted(listed, key=lambda pair: pair["told_apart"]),
    }


def _sibling_pairs(given: LimitsInput) -> list[tuple[int, int]]:
    sets: Sequence[Sequence[int]] = given.siblings
    if not sets:
        columns = [[given.column(name) for name in names] for names in SIBLINGS]
        sets = [[c for c in row if c is not None] for row in columns]
    return sorted({pair for row in sets for pair in combinations(sorted(row), 2)})


def _decided(labels: np.ndarray, first: int, second: int) -> np.ndarray:
    """Return bool [N]: exactly one of the two is present, and the other known to be absent."""
    one, two = labels[:, first], labels[:, second]
    return ((one == PRESENT) & (two == ABSENT)) | ((one == ABSENT) & (two == PRESENT))


def _share_told_apart(labels: np.ndarray, scores: np.ndarray, pair: tuple[int, int]) -> float:
    """Return the share of pairs of images in the right order, ties half; NaN without a pair."""
    first, second = pair
    decided = _decided(labels, first, second)
    is_first = labels[decided, first] == PRESENT
    num_first, num_second = int(is_first.sum()), int((~is_first).sum())
    if num_first == 0 or num_second == 0:
        return float("nan")
    chosen = scores[decided][:, [first, second]].clip(_LEAST_SCORE, 1 - _LEAST_SCORE)
    log_odds = np.log(chosen) - np.log1p(-chosen)
    ranks = rankdata(log_odds[:, 0] - log_odds[:, 1])
    above = ranks[is_first].sum() - num_first * (num_first + 1) / 2
    return float(above / (num_first * num_second))


def _bias(given: LimitsInput, interval: _Interval) -> dict[str, Any]:
    columns = [given.column(name) for name in GROUPS]
    if None in columns:
        return {"groups": list(GROUPS), "activities": []}
    man, woman = (column for column in columns if column is not None)
    labels = given.labels == PRESENT
    counts = {
        column: _counts(labels, column, man, woman)
        for column, kind in enumerate(given.kinds)
        if kind == "action"
    }
    activities = [c for c, (men, women) in counts.items() if men + women >= LEAST_IMAGES]
    if not activities:
        return {"groups": list(GROUPS), "activities": []}
    needed = sorted({man, woman, *activities})
    place = {column: number for number, column in enumerate(needed)}

    def shares(rows: np.ndarray) -> np.ndarray:
        """Return [activities, 2]: share of women in labels and in predictions; NaN if none."""
        truth = labels[rows][:, needed]
        predicted = _as_frequent(truth, given.scores[rows][:, needed])
        return np.array(
            [
                [_share(_counts(y, place[a], place[man], place[woman])) for y in (truth, predicted)]
                for a in activities
            ]
        )

    now = shares(np.arange(len(labels)))
    if np.isnan(now).any(1).all():
        return {"groups": list(GROUPS), "activities": []}
    listed = [
        {"name": given.names[a], "men": counts[a][0], "women": counts[a][1]}
        | {"labels": float(row[0]), "predictions": None if np.isnan(row[1]) else float(row[1])}
        for a, row in zip(activities, now, strict=True)
    ]
    return {
        "groups": list(GROUPS),
        "amplification": _amplification(now),
        "interval": interval(lambda rows: _amplification(shares(rows))),
        "activities": listed,
    }


def _counts(present: np.ndarray, activity: int, man: int, woman: int) -> tuple[int, int]:
    """Return how many images of the activity show a man and no woman, and the reverse."""
    active, men, women = present[:, activity], present[:, man], present[:, woman]
    return int((active & men & ~women).sum()), int((active & women & ~men).sum())


def _share(counts: tuple[int, int]) -> float:
    men, women = counts
    return women / (men + women) if men + women else float("nan")


def _as_frequent(truth: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Return bool [N, C]: each tag given to as many images as carry it, best scores first."""
    given = np.zeros_like(truth)
    for column, count in enumerate(truth.sum(0).tolist()):
        given[np.argsort(-scores[:, column], kind="stable")[:count], column] = True
    return given


def _amplification(shares: np.ndarray) -> float:
    """Return how much further than in the labels the larger group's share is, mean over rows."""
    known = shares[~np.isnan(shares).any(1)]
    if len(known) == 0:
        return float("nan")
    labels, predictions = known.T
    return float(np.where(labels > 0.5, predictions - labels, labels - predictions).mean())

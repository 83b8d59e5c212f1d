"""Do thresholds keep what they promise on images that they were not chosen on?

Of many tags and levels, the luckiest pass: what thresholds promise on the images they were chosen
on is too much. So every fifth of the images is judged with thresholds chosen on the rest. The share
of right additions there has to reach the target, and its one-sided 95 % bound has to be as high as
`LEAST_CHECKED` additions looked at by a person would make it; else thresholds are chosen for a
higher precision, until both hold. Where none do, nothing is added, and the reason says what came
nearest.

The bound is cautious in one more way: additions of a level of score count as all right at most.
Among those that a model is surest of, other captions name more than the usual share of what is
there, and levels that seem better than all right would make up for worse ones.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ram_ray.data_engine.generate.evidence import LEAST_ADDITIONS, Told
from ram_ray.data_engine.generate.score_levels import GRID
from ram_ray.data_engine.generate.threshold_search import Found, Search, falling

FOLDS = 5
"""Usual for choosing by cross-validation (Hastie et al. 2009, 7.10)."""
LEAST_CHECKED = 30
"""The bound may be as far below the target as that of so many additions, each known right or wrong:
9 points for .90, 5 for .97. Tried on the development seed (900) of the scenes, a target of .97:
with 30, additions are .976 right and recall rises by 15.5 points; with 40, by 13.7; with 60 a
thousand second captions show no thresholds to be good enough."""
TIGHTER = (1, 0.85, 0.7, 0.55, 0.4, 0.3, 0.2, 0.1)
"""Of the wrong additions allowed by the target, the shares that are aimed at in turn."""
_Z = 1.645


@dataclass(frozen=True, kw_only=True, slots=True)
class Kept:
    """What images show about additions by thresholds that were chosen on others."""

    precision: float
    """Estimated share of right ones, 0..1; NaN where nothing is added."""
    at_least: float
    """Its one-sided 95 % bound, 0..1."""
    num_additions: int

    def holds(self, target: float) -> bool:
        """Return whether this is enough for a precision of 0..1."""
        return self.above(target) >= 0

    def above(self, target: float) -> float:
        """Return by how much both are higher than is needed, the nearer one; NaN: nothing added."""
        return min(self.precision - target, self.at_least - least(target))


def least(target: float) -> float:
    """Return what the bound has to reach for a precision of 0..1."""
    return max(0.0, target - _Z * float(np.sqrt(target * (1 - target) / LEAST_CHECKED)))


def keep(told: Told, target: float) -> tuple[list[Found], Kept, bool]:
    """Return thresholds by rule whose additions, of all rules together, keep the target.

    Returns:
        the thresholds, what was found out of fold, and whether that is enough; where nothing is,
        what came nearest.
    """
    aims = [1 - (1 - target) * share for share in TIGHTER]
    found = cross_fit(told, aims)
    at = next((at for at, kept in enumerate(found) if kept.holds(target)), None)
    holds = at is not None
    if at is None:
        at = int(np.argmax([np.nan_to_num(kept.above(target), nan=-1.0) for kept in found]))
    searches = [Search.of(told, rule) for rule in told.rules]
    return [search.lowest(aims[at]) for search in searches], found[at], holds


def cross_fit(told: Told, aims: Sequence[float]) -> list[Kept]:
    """Return per aim what is found with every fold judged by thresholds of the others."""
    fold = np.random.default_rng(0).permutation(len(told)) % FOLDS
    judged: list[list[np.ndarray]] = [[] for _ in aims]
    for number in range(FOLDS):
        rows = np.flatnonzero(fold == number)
        rest, held = told.where(np.flatnonzero(fold != number)), told.where(rows)
        searches = [Search.of(rest, rule) for rule in rest.rules]
        for at, aim in enumerate(aims):
            judged[at].append(_judge(held, rows, searches, aim))
    error = _error_of_rate(told)
    return [_estimate(np.concatenate(parts, axis=1), len(told), error) for parts in judged]


def _judge(held: Told, rows: np.ndarray, searches: list[Search], aim: float) -> np.ndarray:
    """Return float64 [4, K] of the pairs above a threshold: image, score, added (1, 0), votes."""
    taken = np.zeros_like(held.observed)
    parts: list[np.ndarray] = []
    for search, rule in zip(searches, held.rules, strict=True):
        above = (held.scores > search.lowest(aim).values) & rule.considered & ~taken
        taken |= above
        pairs, each = held.votes(search.mentioned)
        at, tag_ids = np.nonzero(above)
        columns = (
            rows[at],
            held.scores[at, tag_ids] / search.mentioned[tag_ids],
            ~held.observed[at, tag_ids],
            pairs[at, tag_ids] * each[tag_ids],
        )
        parts.append(np.stack(columns))
    return np.concatenate(parts, axis=1)


def _estimate(judged: np.ndarray, num_images: int, error: float) -> Kept:
    """Return the share of right additions of `_judge`'s pairs, with its bound."""
    image, _, added, votes = judged[:, np.argsort(-judged[1], kind="stable")]
    count = int(added.sum())
    if count < LEAST_ADDITIONS:
        return Kept(precision=float("nan"), at_least=float("nan"), num_additions=count)
    ends = np.unique(np.geomspace(min(30, count), count, GRID).astype(int))
    level = np.searchsorted(ends, np.cumsum(added) - added, side="right").clip(max=len(ends) - 1)
    per_level, right = np.bincount(level, added), np.bincount(level, votes)
    share = min(1.0, float(votes.sum() / count))
    cautious = float((falling(right, per_level) * per_level).sum() / count)
    # images are drawn, not pairs: what one caption says of its image hangs together
    beside = votes - (right / np.maximum(per_level, 1e-9))[level] * added
    by_image = np.bincount(image.astype(int), beside, minlength=num_images)
    spread = float(np.hypot(np.sqrt((by_image**2).sum()) / count, share * error))
    at_least = max(0.0, min(share, cautious) - _Z * spread)
    return Kept(precision=share, at_least=at_least, num_additions=count)


def _error_of_rate(told: Told) -> float:
    """Return the relative standard error of the share that votes are divided by."""
    if told.kind == "trusted":
        return 0.0
    both, named = int((told.observed & told.said).sum()), int(told.observed.sum())
    if told.kind == "own_caption" or both == 0:
        return 0.0
    return float(np.sqrt((1 - both / named) / both))

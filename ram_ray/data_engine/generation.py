"""Which tags to add: a threshold per tag that keeps the added ones as precise as asked for.

    thresholds = choose_thresholds(scores, observed, target_precision=0.9)
    added = additions(scores, observed, thresholds)

Nobody labels anything for it. The scores are out of fold: the model that scores an image has not
seen its caption, so the caption is a witness. Three sources of evidence, best first:

- `trusted`: some images whose tags are all known. The precision of the additions is counted.
- `agreement`: images with a second caption. How often it names the tags that would be added,
  against how often it names tags that the first caption names too: the ratio is the precision.
- neither: the image's own caption. Where the model is surest, it names a share `c` of what is
  there (Elkan and Noto 2008, learning from positive and unlabelled data). Of n images above a
  threshold, o of them named, o / c carry the tag: o / c - o of the n - o additions are right.

People name what stands out, and a model finds that first. So `c` among the surest images is too
high for the rest, which makes the estimated precision too low: the error is on the safe side.

Every estimate of a tag leans on that of all tags at equal rank, worth `PRIOR_ADDITIONS` additions.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ram_model.metrics import PRESENT, UNVERIFIED
from ram_ray.config import require

NEVER = 1.0
"""Threshold of a tag that is not added: no score is above it."""
PRIOR_ADDITIONS = 20.0
"""What the estimate of all tags weighs; chosen on the validation scenes of the benchmark."""
LEAST_ADDITIONS = 3
"""Fewer additions show nothing."""
GRID = 48
"""Thresholds tried per tag."""

Evidence = Literal["trusted", "agreement", "own_caption"]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Thresholds:
    """Above which out-of-fold score an unnamed tag is added, and what is known about that."""

    values: np.ndarray
    """float32 [T]; 1.0: never."""
    precision: np.ndarray
    """float32 [T], estimated share of right additions; NaN where the tag is never added."""
    num_additions: np.ndarray
    """int64 [T], in the images that were looked at."""
    evidence: Evidence


def choose_thresholds(
    scores: np.ndarray,
    observed: np.ndarray,
    *,
    target_precision: float = 0.9,
    agreement: np.ndarray | None = None,
    trusted: tuple[np.ndarray, np.ndarray] | None = None,
    candidates: np.ndarray | None = None,
) -> Thresholds:
    """Return the lowest threshold per tag whose additions reach the target.

    Args:
        scores: float [N, T], 0..1, out of fold.
        observed: bool [N, T], what the caption names.
        target_precision: share of right tags among the added ones, 0..1.
        agreement: int8 [N, T], 1 where another caption of the image names the tag, 0 where it does
            not, -1 in all columns of an image without another caption.
        trusted: rows int [M] and their complete labels bool [M, T]; used instead of all else.
        candidates: bool [N, T], look only at these (such as the tags of a generated caption, which
            then get a lower threshold than other tags need); None: at all.

    Raises:
        ValueError: the shapes differ, or a score is not in 0..1.
        ConfigError: the target is not between 0 and 1.
    """
    require(0 < target_precision < 1, "target_precision", target_precision, "between 0 and 1")
    _check(scores, observed, agreement, candidates)
    considered = np.ones_like(observed, dtype=bool) if candidates is None else candidates
    if trusted is not None:
        rows, truth = trusted
        tables = _count(scores[rows], observed[rows], considered[rows])
        right = tables.of(truth.astype(np.float64), added=True)
        evidence: Evidence = "trusted"
    elif agreement is not None and (agreement != UNVERIFIED).any():
        rows = np.flatnonzero((agreement != UNVERIFIED).any(axis=1))
        tables = _count(scores[rows], observed[rows], considered[rows])
        right = _right_by_agreement(tables, (agreement[rows] == PRESENT).astype(np.float64))
        evidence = "agreement"
    else:
        tables = _count(scores, observed, considered)
        right = _right_by_own_caption(tables)
        evidence = "own_caption"
    return _lowest(tables, right, target_precision, evidence)


def additions(
    scores: np.ndarray,
    observed: np.ndarray,
    thresholds: Thresholds,
    candidates: np.ndarray | None = None,
) -> np.ndarray:
    """Return bool [N, T]: the tags to add. Arguments as of `choose_thresholds`."""
    _check(scores, observed, None, candidates)
    added = (scores > thresholds.values) & ~observed
    return added if candidates is None else added & candidates


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class _Counts:
    """How many pairs lie above each threshold of a grid; from the highest threshold down."""

    grid: np.ndarray
    """float32 [G], falling."""
    level: np.ndarray
    """int [N, T]: the first grid threshold that the score is above; G: none."""
    considered: np.ndarray
    observed: np.ndarray
    above: np.ndarray
    """float64 [G, T], considered pairs above."""
    named: np.ndarray
    """float64 [G, T], of them those the caption names."""

    def of(self, weights: np.ndarray, *, added: bool) -> np.ndarray:
        """Return [G, T]: the sum of weights [N, T] over unnamed (`added`) or named pairs above."""
        chosen = self.considered & (~self.observed if added else self.observed)
        return _cumulate(self.level, weights * chosen, len(self.grid))


def _count(scores: np.ndarray, observed: np.ndarray, considered: np.ndarray) -> _Counts:
    grid = _grid(scores, considered)
    level = len(grid) - np.searchsorted(grid[::-1], scores, side="left")
    above = _cumulate(level, considered.astype(np.float64), len(grid))
    named = _cumulate(level, (considered & observed).astype(np.float64), len(grid))
    return _Counts(
        grid=grid,
        level=level,
        considered=considered,
        observed=observed,
        above=above,
        named=named,
    )


def _grid(scores: np.ndarray, considered: np.ndarray) -> np.ndarray:
    """Return falling thresholds, closer together where fewer scores lie above."""
    values = np.sort(scores[considered])[::-1]
    if len(values) == 0:
        return np.array([NEVER], np.float32)
    first = min(10, len(values))
    ranks = np.unique(np.geomspace(first, len(values), GRID).astype(int)) - 1
    return np.unique(values[ranks].astype(np.float32))[::-1]


def _cumulate(level: np.ndarray, weights: np.ndarray, size: int) -> np.ndarray:
    """Return float64 [size, T], per tag the weights at or before each level."""
    num_tags = level.shape[1]
    cells = level * num_tags + np.arange(num_tags)
    total = np.bincount(cells.ravel(), weights.ravel(), (size + 1) * num_tags)
    return np.cumsum(total.reshape(size + 1, num_tags)[:size], axis=0)


def _right_by_own_caption(counts: _Counts) -> np.ndarray:
    """Return [G, T], the estimated number of right additions above each threshold."""
    mentioned = _mention_rate(counts.named, counts.above)
    return np.minimum(counts.named * (1 / mentioned - 1), counts.above - counts.named)


def _mention_rate(named: np.ndarray, above: np.ndarray) -> np.ndarray:
    """Return [T], the share of what is there that captions name: the highest share seen.

    A share over few images is drawn to that of the typical tag, so that luck does not make it high.
    """
    enough = above >= PRIOR_ADDITIONS
    highest = np.where(enough, named / np.maximum(above, 1), 0).max(axis=0, initial=0)
    usual = float(np.median(highest[highest > 0])) if (highest > 0).any() else 1.0
    rate = (named + PRIOR_ADDITIONS * usual) / (above + PRIOR_ADDITIONS)
    return np.clip(np.where(enough, rate, 0).max(axis=0, initial=0.05), 0.05, 0.99)


def _right_by_agreement(counts: _Counts, agrees: np.ndarray) -> np.ndarray:
    """Return [G, T] as above, from what another caption names (1.0 or 0.0 [N, T]).

    Compared score by score: at high scores both captions name more of what is there, and the named
    have higher scores than the additions.
    """
    named = np.diff(counts.named, axis=0, prepend=0)
    both = np.diff(counts.of(agrees, added=False), axis=0, prepend=0)
    usual = _falling(both.sum(axis=1), named.sum(axis=1))[:, None]
    expected = (named * usual).sum(axis=0)
    # how readily people name this tag, against the others
    factor = (both.sum(axis=0) + PRIOR_ADDITIONS) / (expected + PRIOR_ADDITIONS)
    mentioned = np.clip(usual * factor, 0.05, 1)
    agreeing = np.diff(counts.of(agrees, added=True), axis=0, prepend=0)
    right = np.cumsum(agreeing / mentioned, axis=0)
    return np.minimum(right, counts.above - counts.named)


def _falling(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return [G], the share part / whole, smoothed so that it never rises (pool adjacent)."""
    blocks: list[list[float]] = []
    for p, w in zip((part + 0.5).tolist(), (whole + 1).tolist(), strict=True):
        blocks.append([p, w, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] < blocks[-1][0] / blocks[-1][1]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    return np.concatenate([np.full(int(n), p / w) for p, w, n in blocks])


def _lowest(counts: _Counts, right: np.ndarray, target: float, evidence: Evidence) -> Thresholds:
    """Return per tag the last threshold, from the highest down, before precision is too low."""
    added = counts.above - counts.named
    pooled_added = added.sum(axis=1, keepdims=True)
    pooled = right.sum(axis=1, keepdims=True) / np.maximum(pooled_added, 1)
    precision = (right + PRIOR_ADDITIONS * pooled) / (added + PRIOR_ADDITIONS)
    num_tags = added.shape[1]
    values = np.full(num_tags, NEVER, np.float32)
    estimate = np.full(num_tags, np.nan, np.float32)
    number = np.zeros(num_tags, np.int64)
    for tag_id in range(num_tags):
        tried = np.flatnonzero(added[:, tag_id] >= LEAST_ADDITIONS)
        passed = precision[tried, tag_id] >= target
        if not passed.any():
            continue
        first = int(np.argmax(passed))
        later = np.flatnonzero(~passed[first:])
        at = tried[first + int(later[0]) - 1 if len(later) else len(tried) - 1]
        # a hair below, because a tag is added above its threshold and the grid holds scores
        values[tag_id] = np.nextafter(counts.grid[at], np.float32(0))
        estimate[tag_id] = precision[at, tag_id]
        number[tag_id] = int(added[at, tag_id])
    return Thresholds(values=values, precision=estimate, num_additions=number, evidence=evidence)


def _check(
    scores: np.ndarray,
    observed: np.ndarray,
    agreement: np.ndarray | None,
    candidates: np.ndarray | None,
) -> None:
    for name, given in (
        ("observed", observed),
        ("agreement", agreement),
        ("candidates", candidates),
    ):
        if given is not None and given.shape != scores.shape:
            raise ValueError(f"{name} is {given.shape}, but scores is {scores.shape}.")
    if not ((scores >= 0) & (scores <= 1)).all():
        raise ValueError("scores must be between 0 and 1.")

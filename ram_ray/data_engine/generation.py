"""Which tags to add: a threshold per tag that keeps the added ones as precise as asked for.

    thresholds = choose_thresholds(scores, observed, target_precision=0.9)
    added = additions(scores, observed, thresholds)

Nobody labels anything for it. The scores are out of fold: the model that scores an image has not
seen its caption, so captions are witnesses. Three sources of evidence, best first:

- `trusted`: some images whose tags are all known. The right additions are counted.
- `agreement`: images with a second caption. The share of the additions that it names, over the
  share of the first caption's tags that it names, is the share of right ones. The first caption's
  tags are not all right, which makes that ratio too high; but they stand out more than what it
  left out, which makes it too low. On the benchmark the two are about equal.
- `own_caption`: the image's own. Where the model is surest, it names a share `c` of what is there
  (Elkan and Noto 2008, learning from positive and unlabelled data). Of n images, o of them named,
  o / c carry the tag: o / c - o of the n - o additions are right. People name what stands out, and
  a model finds that first: `c` is too high for the rest. But where even the surest images of a weak
  model lack the tag, `c` is too low, and far too much would be added. Then the share still rises
  among the surest, with how sure the model is; where it does, nothing is added.

A model trained on captions scores how readily people name a tag, times how likely it is there.
So scores are compared after a division by the tag's `c`. What is known of all tags at such a
score holds for each tag but for a factor of its own, which leans on 1 by `PRIOR_ADDITIONS`.
The thresholds are where the estimated chance of being right, the same for all tags, makes the
additions of all tags together as precise as asked for: no other thresholds add more.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from ram_model.metrics import PRESENT, UNVERIFIED
from ram_ray.config import require
from ram_ray.data_engine.score_levels import Levels

NEVER = 1.0
"""Threshold of a tag that is not added: no score is above it."""
PRIOR_ADDITIONS = 20.0
"""What all tags weigh in the estimate of one."""
LEAST_ADDITIONS = 3
"""Fewer additions show nothing."""
LEAST_CHANCE = 0.5
"""What is more likely wrong than right is not added, whatever the target."""
LEAST_SHARE = 0.2
"""Levels where fewer additions are right do not count in a tag's own factor."""

FLAT = 0.95
"""Of the share of captions that name a tag: less than that from half to half is no plateau."""
NO_PLATEAU = (
    "the images' own captions do not tell how often the model is right: they name a tag more often "
    "the surer the model is, even among the images it is surest of. Give second captions or "
    "trusted labels"
)

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
    reason: str | None = None
    """Why no tag is added, where the evidence does not carry any threshold."""


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
    witnessed = trusted is not None or len(_agreeing(agreement)) > 0
    if not witnessed and not has_plateau(scores, observed):
        return _nothing(scores.shape[1], NO_PLATEAU)
    rows = np.arange(len(scores))
    agreeing = _agreeing(agreement)
    evidence: Evidence = "own_caption"
    agrees = np.zeros((0, scores.shape[1]), bool)
    if trusted is not None:
        evidence, rows = "trusted", np.asarray(trusted[0])
    elif agreement is not None and len(agreeing):
        evidence, rows, agrees = "agreement", agreeing, agreement[agreeing] == PRESENT
    if evidence == "agreement":
        mentioned = _agreement_rate(observed[rows], agrees)
    else:
        mentioned = _plateau(scores, observed & considered, considered)
    levels = Levels.of(scores[rows] / mentioned, observed[rows], considered[rows])
    if trusted is not None:
        right = levels.sum(trusted[1] & ~observed[rows])
    elif evidence == "agreement":
        right = levels.sum(agrees & ~observed[rows]) / mentioned
    else:
        right = levels.sum(observed[rows]) * (1 / mentioned - 1)
    return _lowest(levels, right, mentioned, target_precision, evidence)


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


def _agreeing(agreement: np.ndarray | None) -> np.ndarray:
    """Return the rows that have another caption."""
    if agreement is None:
        return np.zeros(0, np.int64)
    return np.flatnonzero((agreement != UNVERIFIED).any(axis=1))


def _agreement_rate(observed: np.ndarray, agrees: np.ndarray) -> np.ndarray:
    """Return [T], the share of a caption's tags that another caption names too."""
    both, named = (observed & agrees).sum(axis=0), observed.sum(axis=0)
    usual = both.sum() / max(1, named.sum())
    return np.clip((both + PRIOR_ADDITIONS * usual) / (named + PRIOR_ADDITIONS), 0.05, 0.99)


def _plateau(scores: np.ndarray, named: np.ndarray, considered: np.ndarray) -> np.ndarray:
    """Return [T], the share of what is there that captions name: that among the surest images.

    A tag's surest images are half as many as its captions; few of them lean on the usual tag.
    """
    order = np.argsort(np.where(considered, -scores, np.inf), axis=0, kind="stable")
    counts = named.sum(axis=0)
    rates = np.zeros(scores.shape[1])
    surest = np.maximum(LEAST_ADDITIONS, counts // 2)
    for tag_id, count in enumerate(surest.tolist()):
        rates[tag_id] = named[order[:count, tag_id], tag_id].sum()
    usual = float(np.median((rates / surest)[counts > 0])) if (counts > 0).any() else 1.0
    return np.clip((rates + PRIOR_ADDITIONS * usual) / (surest + PRIOR_ADDITIONS), 0.05, 0.99)


def has_plateau(scores: np.ndarray, observed: np.ndarray) -> bool:
    """Return whether captions name a tag as often where the model is less sure of it.

    Of each tag's surest images, half as many as its captions, the surer half is compared with the
    other: no plateau where that is named less often by more than FLAT, with 95 % certainty.
    """
    order = np.argsort(-scores, axis=0, kind="stable")
    named, count = np.zeros(2), np.zeros(2)
    for tag_id, size in enumerate((observed.sum(axis=0) // 4).tolist()):
        for half in range(2):
            rows = order[half * size : (half + 1) * size, tag_id]
            named[half] += observed[rows, tag_id].sum()
            count[half] += size
    if (named < LEAST_ADDITIONS).any():
        return False
    share = named / count
    error = np.sqrt(((1 - share) / named).sum())  # of the logarithm of the ratio
    return bool(np.log(share[1] / share[0]) + 1.645 * error >= np.log(FLAT))


def _nothing(num_tags: int, reason: str) -> Thresholds:
    return Thresholds(
        values=np.full(num_tags, NEVER, np.float32),
        precision=np.full(num_tags, np.nan, np.float32),
        num_additions=np.zeros(num_tags, np.int64),
        evidence="own_caption",
        reason=reason,
    )


def _lowest(
    levels: Levels, right: np.ndarray, mentioned: np.ndarray, target: float, evidence: Evidence
) -> Thresholds:
    """Return the thresholds at which additions are as likely right for all tags.

    Args:
        right: float [G, T], estimated number of right additions per level, of any sign or size.
    """
    added = levels.added
    total = added.sum(axis=1)
    pooled = _falling(right.sum(axis=1), total)
    counted = pooled >= LEAST_SHARE
    expected = (pooled[:, None] * added)[counted].sum(axis=0)
    factor = (right[counted].sum(axis=0) + PRIOR_ADDITIONS) / (expected + PRIOR_ADDITIONS)
    chance = np.minimum(1, pooled[:, None] * factor)
    depth = _depth(chance, added, target)
    values = np.full(added.shape[1], NEVER, np.float32)
    estimate = np.full(added.shape[1], np.nan, np.float32)
    number = np.zeros(added.shape[1], np.int64)
    for tag_id, count in enumerate(depth.tolist()):
        own = added[:count, tag_id]
        if own.sum() >= LEAST_ADDITIONS:
            bound = np.float32(levels.grid[count - 1] * mentioned[tag_id])
            # a hair below, because a tag is added above its threshold and the grid holds scores
            values[tag_id] = min(np.nextafter(bound, np.float32(0)), np.float32(NEVER))
            estimate[tag_id] = (chance[:count, tag_id] * own).sum() / own.sum()
            number[tag_id] = int(own.sum())
    return Thresholds(values=values, precision=estimate, num_additions=number, evidence=evidence)


def _depth(chance: np.ndarray, added: np.ndarray, target: float) -> np.ndarray:
    """Return int [T], how many levels of each tag to add, for the target over all tags.

    Args:
        chance: [G, T], falling, of an addition of that level to be right.
    """
    order = np.argsort(-chance, axis=None, kind="stable")
    ranked, weights = chance.ravel()[order], added.ravel()[order]
    mean = np.cumsum(ranked * weights) / np.maximum(np.cumsum(weights), 1e-9)
    last_of_tie = np.append(ranked[1:] < ranked[:-1], True)
    reached = np.flatnonzero((mean >= target) & last_of_tie & (ranked >= LEAST_CHANCE))
    if len(reached) == 0:
        return np.zeros(added.shape[1], np.int64)
    return (chance >= ranked[reached[-1]]).sum(axis=0)


def _falling(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return [G], the share part / whole, smoothed so that it never rises (pool adjacent)."""
    blocks: list[list[float]] = []
    for p, w in zip(part.tolist(), np.maximum(whole, 1e-9).tolist(), strict=True):
        blocks.append([p, w, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] < blocks[-1][0] / blocks[-1][1]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    shares = [np.full(int(n), min(1.0, max(0.0, p / w))) for p, w, n in blocks]
    return np.concatenate(shares)


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

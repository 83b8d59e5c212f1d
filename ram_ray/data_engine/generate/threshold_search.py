"""The lowest thresholds whose additions are as precise as aimed at, by what evidence estimates.

A model trained on captions scores how readily people name a tag, times how likely it is there.
So scores are compared after a division by the share of captions that name the tag. What is known
of all tags at such a score holds for each tag but for a factor of its own, which leans on 1 by
`PRIOR_ADDITIONS`. The thresholds are where the estimated chance of being right, the same for all
tags, makes the additions of all tags together as precise as aimed at: no other thresholds add more.
"""

from dataclasses import dataclass

import numpy as np

from ram_ray.data_engine.generate.evidence import LEAST_ADDITIONS, PRIOR_ADDITIONS, Rule, Told

NEVER = 1.0
"""Threshold of a tag that is not added: no score is above it."""
LEAST_CHANCE = 0.5
"""What is more likely wrong than right is not added, whatever the target."""
LEAST_SHARE = 0.2
"""Levels where fewer additions are right do not count in a tag's own factor."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Found:
    """Thresholds of one rule."""

    values: np.ndarray
    """float32 [T]; 1.0: never."""
    precision: np.ndarray
    """float32 [T], estimated share of right additions; NaN where the tag is never added."""
    num_additions: np.ndarray
    """int64 [T], in the images that were looked at."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Search:
    """How likely additions of a rule are right, by tag and level of score."""

    mentioned: np.ndarray
    """float64 [T], what scores are divided by."""
    grid: np.ndarray
    """float64 [G], the lower end of each level of divided scores, falling."""
    added: np.ndarray
    """float64 [G, T], additions of that level."""
    chance: np.ndarray
    """float64 [G, T], falling, of one of them to be right."""

    @classmethod
    def of(cls, told: Told, rule: Rule) -> "Search":
        """Estimate the chances from what is said about some images."""
        mentioned = told.mentioned(rule)
        levels, right = told.levels(rule, mentioned)
        pooled = falling(right.sum(axis=1), levels.added.sum(axis=1))
        counted = pooled >= LEAST_SHARE
        expected = (pooled[:, None] * levels.added)[counted].sum(axis=0)
        factor = (right[counted].sum(axis=0) + PRIOR_ADDITIONS) / (expected + PRIOR_ADDITIONS)
        chance = np.minimum(1, pooled[:, None] * factor)
        return cls(mentioned=mentioned, grid=levels.grid, added=levels.added, chance=chance)

    def lowest(self, aim: float) -> Found:
        """Return the lowest thresholds whose additions reach a precision of 0..1, all together."""
        num_tags = self.added.shape[1]
        values = np.full(num_tags, NEVER, np.float32)
        estimate = np.full(num_tags, np.nan, np.float32)
        number = np.zeros(num_tags, np.int64)
        for tag_id, count in enumerate(_depth(self.chance, self.added, aim).tolist()):
            own = self.added[:count, tag_id]
            if own.sum() >= LEAST_ADDITIONS:
                bound = np.float32(self.grid[count - 1] * self.mentioned[tag_id])
                # a hair below, because a tag is added above its threshold and the grid holds scores
                values[tag_id] = min(np.nextafter(bound, np.float32(0)), np.float32(NEVER))
                estimate[tag_id] = (self.chance[:count, tag_id] * own).sum() / own.sum()
                number[tag_id] = int(own.sum())
        return Found(values=values, precision=estimate, num_additions=number)


def _depth(chance: np.ndarray, added: np.ndarray, aim: float) -> np.ndarray:
    """Return int [T], how many levels of each tag to add, for the aim over all tags.

    Args:
        chance: [G, T], falling, of an addition of that level to be right.
    """
    order = np.argsort(-chance, axis=None, kind="stable")
    ranked, weights = chance.ravel()[order], added.ravel()[order]
    mean = np.cumsum(ranked * weights) / np.maximum(np.cumsum(weights), 1e-9)
    last_of_tie = np.append(ranked[1:] < ranked[:-1], True)
    reached = np.flatnonzero((mean >= aim) & last_of_tie & (ranked >= LEAST_CHANCE))
    if len(reached) == 0:
        return np.zeros(added.shape[1], np.int64)
    return (chance >= ranked[reached[-1]]).sum(axis=0)


def falling(part: np.ndarray, whole: np.ndarray) -> np.ndarray:
    """Return [G], the share part / whole in 0..1, so that it never rises (pool adjacent)."""
    blocks: list[list[float]] = []
    for p, w in zip(part.tolist(), np.maximum(whole, 1e-9).tolist(), strict=True):
        blocks.append([p, w, 1])
        while len(blocks) > 1 and blocks[-2][0] / blocks[-2][1] < blocks[-1][0] / blocks[-1][1]:
            last = blocks.pop()
            blocks[-1] = [a + b for a, b in zip(blocks[-1], last, strict=True)]
    shares = [np.full(int(n), min(1.0, max(0.0, p / w))) for p, w, n in blocks]
    return np.concatenate(shares)

"""What is said about images, as evidence on the tags that a model would add to them.

Three sources, best first:

- `trusted`: some images whose tags are all known. The right additions are counted.
- `agreement`: images with a second caption. The share of the additions that it names, over the
  share of the first caption's tags that it names, is the share of right ones. The first caption's
  tags are not all right, which makes that ratio too high; so does that people name most readily
  what a model is surest of. But what the first caption left out stands out less than what it
  named, which makes the ratio too low. On scenes with known tags the two are about equal.
- `own_caption`: the image's own. Where the model is surest, it names a share `c` of what is there
  (Elkan and Noto 2008, learning from positive and unlabelled data). Of n images, o of them named,
  o / c carry the tag: o / c - o of the n - o additions are right. People name what stands out, and
  a model finds that first: `c` is too high for the rest. But where even the surest images of a weak
  model lack the tag, `c` is too low, and far too much would be added. Then the share still rises
  among the surest, with how sure the model is; where it does, nothing is added.
"""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from ram_ray.data_engine.generate.score_levels import Levels

Evidence = Literal["trusted", "agreement", "own_caption"]

PRIOR_ADDITIONS = 20.0
"""What all tags weigh in the estimate of one."""
LEAST_ADDITIONS = 3
"""Fewer additions show nothing."""
FLAT = 0.95
"""Of the share of captions that name a tag: less than that from half to half is no plateau."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Rule:
    """Which pairs a rule looks at: all, or the tags of generated captions."""

    considered: np.ndarray
    """bool [M, T]."""
    mentioned: np.ndarray | None = None
    """float64 [T], the share of what is there that captions name; None: to be estimated."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Told:
    """Images about which something is said beyond the model's scores."""

    kind: Evidence
    scores: np.ndarray
    """float [M, T], 0..1, out of fold."""
    observed: np.ndarray
    """bool [M, T], what the caption names."""
    said: np.ndarray
    """bool [M, T], what trusted labels or another caption name; of own captions: as observed."""
    rules: tuple[Rule, ...]

    def __len__(self) -> int:
        return len(self.scores)

    def where(self, rows: np.ndarray) -> "Told":
        """Return some of the images."""
        return replace(
            self,
            scores=self.scores[rows],
            observed=self.observed[rows],
            said=self.said[rows],
            rules=tuple(replace(one, considered=one.considered[rows]) for one in self.rules),
        )

    def mentioned(self, rule: Rule) -> np.ndarray:
        """Return float64 [T], the share of what is there that captions name."""
        if rule.mentioned is not None:
            return rule.mentioned
        if self.kind == "agreement":
            return agreement_rate(self.observed, self.said)
        return plateau(self.scores, self.observed & rule.considered, rule.considered)

    def votes(self, mentioned: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the pairs bool [M, T] that speak for additions, and for how many each, [T].

        Trusted labels and other captions speak by additions that they name, own captions by what
        they name beside the additions.
        """
        if self.kind == "own_caption":
            return self.observed, 1 / mentioned - 1
        each = np.ones_like(mentioned) if self.kind == "trusted" else 1 / mentioned
        return self.said & ~self.observed, each

    def levels(self, rule: Rule, mentioned: np.ndarray) -> tuple[Levels, np.ndarray]:
        """Return the pairs by level of score, and float64 [G, T], how many additions are right."""
        levels = Levels.of(self.scores / mentioned, self.observed, rule.considered)
        pairs, each = self.votes(mentioned)
        return levels, levels.sum(pairs) * each


def agreement_rate(observed: np.ndarray, agrees: np.ndarray) -> np.ndarray:
    """Return float64 [T], the share of a caption's tags that another caption names too.

    Args:
        observed: bool [M, T], named by the one.
        agrees: bool [M, T], named by the other.
    """
    both, named = (observed & agrees).sum(axis=0), observed.sum(axis=0)
    usual = both.sum() / max(1, named.sum())
    return np.clip((both + PRIOR_ADDITIONS * usual) / (named + PRIOR_ADDITIONS), 0.05, 0.99)


def plateau(scores: np.ndarray, named: np.ndarray, considered: np.ndarray) -> np.ndarray:
    """Return float64 [T], the share of what is there that captions name: among the surest images.

    A tag's surest images are half as many as its captions; few of them lean on the usual tag.

    Args:
        scores: float [N, T].
        named: bool [N, T], considered and named.
        considered: bool [N, T].
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

    Args:
        scores: float [N, T].
        observed: bool [N, T].
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

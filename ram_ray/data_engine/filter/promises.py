"""What may be promised about removals above each cut: how many are wrong, how many right ones go.

Two witnesses have to agree, each with its one-sided 95 % bound on the cautious side:

- **Drawn tags.** Named tags are right ones and some wrong ones, and wrong ones look like drawn
  ones; `filtering` estimates how many. It counts a few right ones: too many where a weak model
  suspects right tags as much as wrong ones, and then too much is promised.
- **What people say.** Complete labels, where some images have them: removals are counted right and
  wrong. Else other captions of the image: what a second writer names is right, and right tags are
  named again at a certain rate. That falls with suspicion, because a right tag that looks wrong is
  small or beside the point. How fast it falls shows in the less suspicious half, where nearly no
  tag is wrong, and is followed to the removed ones.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from scipy.special import expit, logit

from ram_ray.data_engine.config import FilterConfig

Checked = Literal["trusted", "agreement", "nobody"]
TOP = 0.2
"""Of the drawn, the most suspicious: there nearly everything named is wrong."""
LEAST_ROWS = 50
"""Fewer rows say nothing about a share."""
UNKNOWN = -1
_Z = 1.645
_EDGE = 1e-6


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Witnesses:
    """What people say about named tags."""

    said: np.ndarray
    """int8 [M], 1: the tag is said again, 0: it is not, -1: nobody else speaks of the image."""
    complete: bool = False
    """They name all that is there (trusted labels), else what they like (other captions)."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Drawn:
    """Drawn tags as stand-ins for the wrong ones among the named."""

    suspicion: np.ndarray
    """float64 [W]."""
    weight: np.ndarray
    """float64 [W], the share of the named that each stands for; their sum is that of the wrong."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Promise:
    """The lowest cut at which all estimates keep what was asked for."""

    cut: float
    """Suspicion above which a tag is removed; infinite: nothing can be promised."""
    precision: float
    """At least this share of the removed is wrong; NaN where nothing is removed."""
    over_removal: float
    """At most this share of the right tags is removed."""
    wrong_share: float
    """Of the named, as the drawn tags tell."""
    checked_by: Checked
    broken: str | None
    """Where nothing can be promised: which promise failed, in words."""


def promise(
    named: np.ndarray,
    drawn: Drawn,
    tag_ids: np.ndarray,
    witnesses: Witnesses | None,
    config: FilterConfig,
) -> Promise:
    """Return the cut and what may be said about it.

    Args:
        named: float [M], suspicion of the named tags, out of fold, as that of the drawn.
        tag_ids: int [M], of the named.
    """
    cuts = np.unique(np.quantile(named, np.linspace(0.4, 1, 600)))[:-1]
    share = float(drawn.weight.sum())
    precision, over = _by_drawn(named, drawn, cuts)
    checked: Checked = "nobody"
    drawn_holds = (precision >= config.min_precision) & (over <= config.max_over_removal)
    holds = drawn_holds
    if witnesses is not None and (witnesses.said == 1).sum() >= LEAST_ROWS:
        checked = "trusted" if witnesses.complete else "agreement"
        seen_precision, seen_over = _by_witnesses(named, tag_ids, witnesses, cuts)
        precision, over = np.minimum(precision, seen_precision), np.maximum(over, seen_over)
        holds = (precision >= config.min_precision) & (over <= config.max_over_removal)
    if not holds.any():
        who = {"trusted": "the trusted labels", "agreement": "other captions of the images"}
        against = "the tags drawn from other captions" if not drawn_holds.any() else who[checked]
        broken = f"by {against}, no cut keeps the promised precision and over-removal"
        return Promise(
            cut=float("inf"), precision=float("nan"), over_removal=0.0, wrong_share=share,
            checked_by=checked, broken=broken,
        )  # fmt: skip
    at = int(np.argmax(holds))
    return Promise(
        cut=float(cuts[at]), precision=float(precision[at]), over_removal=float(over[at]),
        wrong_share=share, checked_by=checked, broken=None,
    )  # fmt: skip


def top_share(named: np.ndarray, drawn: np.ndarray) -> float:
    """Return the share of wrong ones among the named, 0..0.5: that among the most suspicious.

    Above the suspicion that a fifth of the drawn exceed, the named are taken for wrong.
    """
    cut = np.quantile(drawn, 1 - TOP)
    return float(min((named > cut).mean() / TOP, 0.5))


def _by_drawn(named: np.ndarray, drawn: "Drawn", cuts: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return per cut the least precision and the most over-removal."""
    order = np.argsort(drawn.suspicion)
    below = np.concatenate([[0.0], np.cumsum(drawn.weight[order])])
    found = below[-1] - below[np.searchsorted(drawn.suspicion[order], cuts, side="right")]
    above = (len(named) - np.searchsorted(np.sort(named), cuts, side="right")).astype(float)
    most = _highest(above, np.full(len(cuts), float(len(named))))
    precision = np.minimum(found / np.maximum(most, _EDGE), 1)
    return precision, np.maximum(most - found, 0) / (1 - below[-1])


def _by_witnesses(
    named: np.ndarray, tag_ids: np.ndarray, witnesses: Witnesses, cuts: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return per cut the least precision and the most over-removal that witnesses allow."""
    known = witnesses.said != UNKNOWN
    said, suspicion = witnesses.said[known] == 1, named[known]
    order = np.argsort(-suspicion)
    above = len(said) - np.searchsorted(suspicion[order][::-1], cuts, side="right")

    def total(values: np.ndarray) -> np.ndarray:
        return np.concatenate([[0.0], np.cumsum(values[order])])[above]

    count = above.astype(float)
    at_cut, at_own = np.ones(len(cuts)), np.ones(len(said))
    if not witnesses.complete:
        tag_rate, curve = again_curve(said, suspicion, tag_ids[known])
        # the right ones among the removed lie near the cut, most of the others far above it
        at_cut = expit(total(tag_rate) / np.maximum(count, 1) + curve[0] + curve[1] * cuts)
        at_own = np.maximum(expit(tag_rate + curve[0] + curve[1] * suspicion), 0.01)
    right = _highest(total(said.astype(float)), count) / np.maximum(at_cut, 0.01)
    return 1 - right, right * count / max(float((said / at_own).sum()), _EDGE)


def again_curve(
    said: np.ndarray, suspicion: np.ndarray, tag_ids: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return how often another caption names a right tag again: expit(tag + a + b * suspicion).

    It is fitted to the less suspicious half and never rises.

    Args:
        said: bool [M], another caption named it.
        suspicion: float64 [M].
        tag_ids: int [M].

    Returns:
        float64 [M], the logit of the tag's rate, and float64 [2], a and b.
    """
    prior = 20.0  # what all tags weigh in the rate of one
    named, again = np.bincount(tag_ids).astype(float), np.bincount(tag_ids, said)
    tag_rate = logit(np.clip((again + prior * said.mean()) / (named + prior), 0.01, 0.99))[tag_ids]
    half = suspicion <= np.median(suspicion)
    x = np.stack([np.ones(half.sum()), suspicion[half]], axis=1)
    curve = np.zeros(2)
    for _ in range(20):  # Newton's steps
        chance = expit(tag_rate[half] + x @ curve)
        slope = x.T @ (said[half] - chance)
        bend = (x.T * (chance * (1 - chance))) @ x + 1e-6 * np.eye(2)
        curve = np.clip(curve + np.linalg.solve(bend, slope), -10, 10)
    if curve[1] > 0:
        curve = np.array([logit(np.clip(said[half].mean(), 0.01, 0.99)) - tag_rate[half].mean(), 0])
    return tag_rate, curve


def _highest(count: np.ndarray, of: np.ndarray) -> np.ndarray:
    """Return the upper end of Wilson's one-sided 95 % interval of a share."""
    of = np.maximum(of, _EDGE)
    share = np.minimum(count / of, 1)
    spread = _Z * np.sqrt(share * (1 - share) / of + _Z**2 / (4 * of**2))
    return np.minimum((share + _Z**2 / (2 * of) + spread) / (1 + _Z**2 / of), 1)

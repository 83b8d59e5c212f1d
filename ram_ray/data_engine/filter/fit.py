"""Which named tags to remove: evidence weighed by a filter that no human labelled anything for.

    wrong = draw_wrong_tags(observed, generator)                # tags of other captions
    judge = fit(evidence_of_named, evidence_of_wrong, num_tags) # weighs named against wrong
    decisions = decide(judge, evidence_of_named)

How the filter learns without labels: most named tags are right; a tag taken from the caption of
another image is wrong. A logistic regression that tells the two apart weighs the evidence; the few
wrong ones among the named, and the few right ones among the drawn, blunt it but turn nothing round.
Captions err in two ways: a tag that is not there, and a caption of another image, whose tags are
wrong together. How often each happens is estimated, captions against swapped captions and then tags
against drawn tags, and the drawn tags are weighed so: against single wrong tags a caption's other
tags say nothing, against swapped captions they say most.

The cut is the lowest that keeps its `promises`: enough of the removed is wrong, the right stays.

Evidence, each the rule id of a removal that it decided:

- `improbable`: the out-of-fold score on the whole image is low for this tag.
- `region_contradiction`: the tagger does not see the tag on its best region, or sees another tag
  of its kind there. RAM's rule is the first half alone.
- `cluster_outlier`: the region looks unlike the tag's other regions. RAM's other rule.
- `caption_mismatch`: the caption looks like another image's: its other tags are improbable too, and
  what the model expects is not said.

A tag that nothing localises (no region) is judged by the other evidence, which the `policy` of its
kind may forbid. A removal has one rule, the evidence that spoke most for it: undoing a rule gives
back its rows and no others.
"""

from dataclasses import dataclass

import numpy as np

from ram_model.config import KINDS
from ram_ray.data_engine.config import RULES, FilterConfig
from ram_ray.data_engine.filter.evidence import Evidence
from ram_ray.data_engine.filter.promises import (
    LEAST_ROWS,
    Drawn,
    Promise,
    Witnesses,
    promise,
    top_share,
)
from ram_ray.data_engine.filter.suspicion import (
    FEATURES,
    Usual,
    columns_of,
    misfit_of_captions,
    regress,
)

LEAST_TAGS = 3
"""Shorter captions do not tell how many are swapped."""
LEAST_SHARE = 0.005
"""Of wrong tags of either cause: none is ever ruled out."""
FOLDS = 4
"""Promises are checked on captions that the weights were not fitted on."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Filter:
    """What `fit` learned: the same evidence always gets the same decision from it."""

    config: FilterConfig
    usual: Usual
    centre: np.ndarray
    """float64 [F], the usual evidence of a named tag; contributions count from it."""
    weights: np.ndarray
    """float64 [F], of FEATURES, never below 0."""
    bias: float
    promise: Promise
    """The cut, and what may be said about it."""
    swapped_share: float
    """Estimated share of swapped captions' tags among the wrong tags, 0..1."""
    num_named: int
    num_wrong: int
    """Rows it was fitted on."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Decisions:
    """One row per row of evidence."""

    removed: np.ndarray
    """bool [M]."""
    rule: np.ndarray
    """int8 [M], index into RULES of the evidence that spoke most for a removal; -1: kept."""
    suspicion: np.ndarray
    """float32 [M], log odds of being wrong rather than named; comparable within one filter."""
    contributions: np.ndarray
    """float32 [M, len(RULES)], what each rule's evidence added to the suspicion."""


def fit(
    named: Evidence,
    wrong: Evidence,
    num_tags: int,
    config: FilterConfig | None = None,
    *,
    own: np.ndarray | None = None,
    witnesses: Witnesses | None = None,
) -> Filter:
    """Return the filter that tells named tags from wrong ones.

    Args:
        named: a sample of what captions name, whole captions.
        wrong: the evidence of `draw_wrong_tags`.
        own: bool [W], `WrongTags.own`; None: nowhere.
        witnesses: what people say about `named`, where anybody does.

    Raises:
        ValueError: fewer than 50 rows on either side; too few to learn from.
    """
    config = config or FilterConfig()
    learn = np.ones(len(wrong), bool) if own is None else ~own
    if min(len(named), learn.sum()) < LEAST_ROWS:
        sizes = f"{len(named)} named and {learn.sum()} wrong tags"
        raise ValueError(f"A filter needs at least {LEAST_ROWS} of each, but got {sizes}.")
    usual = Usual.of(named, num_tags)
    allowed = np.array([rule in config.rules for _, rule in FEATURES])
    swapped = ~np.isin(wrong.caption, named.caption)
    x_named = columns_of(named, named, usual)
    centre = x_named.mean(axis=0)  # contributions count from the usual
    x_named = (x_named - centre) * allowed
    whole = Evidence.join([named, wrong.where(swapped)])
    x_wrong = (columns_of(wrong, whole, usual)[learn] - centre) * allowed
    by_swapping = _wrong_by_swapping(named, wrong, swapped, learn, usual)
    weight = _weights(x_named, x_wrong, swapped[learn], by_swapping, config.penalty)
    weights, bias = regress(x_named, x_wrong, weight, config.penalty)
    folds = named.caption % FOLDS, wrong.caption[learn] % FOLDS
    s_named, s_wrong = _out_of_fold(x_named, x_wrong, weight, folds, config.penalty)
    drawn = Drawn(suspicion=s_wrong, weight=weight)
    return Filter(
        config=config,
        usual=usual,
        centre=centre,
        weights=weights,
        bias=bias,
        promise=promise(s_named, drawn, named.tag_id, witnesses, config),
        swapped_share=float(weight[swapped[learn]].sum() / weight.sum()),
        num_named=len(named),
        num_wrong=int(learn.sum()),
    )


def _out_of_fold(
    named: np.ndarray,
    wrong: np.ndarray,
    weight: np.ndarray,
    folds: tuple[np.ndarray, np.ndarray],
    penalty: float,
) -> tuple[np.ndarray, np.ndarray]:
    """Return the suspicion of both by weights that were fitted on the other folds."""
    s_named, s_wrong = np.zeros(len(named)), np.zeros(len(wrong))
    for fold in range(FOLDS):
        mine, theirs = folds[0] == fold, folds[1] == fold
        few = mine.all() or theirs.all()  # hardly any captions: there are no others
        weights, bias = regress(
            named[~mine | few], wrong[~theirs | few], weight[~theirs | few], penalty
        )
        s_named[mine] = named[mine] @ weights + bias
        s_wrong[theirs] = wrong[theirs] @ weights + bias
    return s_named, s_wrong


def _wrong_by_swapping(
    named: Evidence, wrong: Evidence, swapped: np.ndarray, learn: np.ndarray, usual: Usual
) -> float:
    """Return the estimated share of the named tags that are wrong because captions are swapped."""
    if not swapped.any():
        return 0.0
    mine, size = misfit_of_captions(named, usual)
    theirs, their_size = misfit_of_captions(wrong.where(swapped), usual)
    # in a short caption, one wrong tag looks like a swapped caption
    mine, theirs = mine[size >= LEAST_TAGS], theirs[their_size >= LEAST_TAGS]
    if min(len(mine), len(theirs)) < LEAST_ROWS:
        return 0.0
    return top_share(mine, theirs) * float(learn[swapped].mean())


def _weights(
    named: np.ndarray, wrong: np.ndarray, swapped: np.ndarray, by_swapping: float, penalty: float
) -> np.ndarray:
    """Return float64 [W], the share of the named that each drawn tag stands for.

    What swapped captions do not explain of the more suspicious named tags, single wrong tags do.
    The suspicion that half of their drawn ones exceed is read: look-alikes are harder to suspect
    than drawn tags, so further up too few would be found; further down right tags are counted.

    Args:
        swapped: bool [W], the drawn tags that stand in a swapped caption.
        by_swapping: share of the named tags that are wrong because of these.
    """
    counts = np.where(swapped, max(1, swapped.sum()), max(1, (~swapped).sum()))
    by_swapping = max(by_swapping, LEAST_SHARE)
    weight = by_swapping / counts
    for _ in range(0 if swapped.all() else 2):
        weights, bias = regress(named, wrong, weight, penalty)
        s_named, s_wrong = named @ weights + bias, wrong @ weights + bias
        cut = np.median(s_wrong[~swapped])
        left = (s_named > cut).mean() - by_swapping * (s_wrong[swapped] > cut).mean()
        singly = float(np.clip(left / 0.5, LEAST_SHARE, 0.5))
        weight = np.where(swapped, by_swapping, singly) / counts
    return weight


def decide(judge: Filter, evidence: Evidence, context: Evidence | None = None) -> Decisions:
    """Return which tags to remove, by which rule, and why.

    Args:
        evidence: whole captions, all their rows: rows of one caption are judged knowing each other.
        context: the rows that count as named beside the rows to judge (such as the caption's own,
            where `evidence` are generated tags); None: `evidence` itself.
    """
    x = columns_of(evidence, context or evidence, judge.usual) - judge.centre
    parts = x * judge.weights
    suspicion = parts.sum(axis=1) + judge.bias
    contributions = np.stack(
        [parts[:, [r == rule for _, r in FEATURES]].sum(axis=1) for rule in RULES], axis=1
    )
    may = ~_kept_by_policy(evidence, judge.config)
    removed = (suspicion > judge.promise.cut) & may
    return Decisions(
        removed=removed,
        rule=np.where(removed, contributions.argmax(axis=1), -1).astype(np.int8),
        suspicion=suspicion.astype(np.float32),
        contributions=contributions.astype(np.float32),
    )


def _kept_by_policy(evidence: Evidence, config: FilterConfig) -> np.ndarray:
    keep = np.array([config.policy.get(kind, "judge") == "keep" for kind in KINDS])
    return keep[evidence.kind] & np.isnan(evidence.region)

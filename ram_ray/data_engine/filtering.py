"""Which named tags to remove: evidence weighed by a filter that no human labelled anything for.

    wrong = draw_wrong_tags(observed, generator)                # tags of other captions
    judge = fit(evidence_of_named, evidence_of_wrong, num_tags) # weighs named against wrong
    decisions = decide(judge, evidence_of_named)

How the filter learns without labels: most named tags are right; a tag taken from the caption of
another image is wrong. A logistic regression that tells the two apart weighs the evidence; the few
wrong ones among the named, and the few right ones among the drawn, blunt it but turn nothing round.
The cut follows from the same two samples. Above the suspicion that half of the drawn wrong tags
exceed, nearly all named tags are wrong, and twice their share is the share of wrong ones among the
named (`wrong_share`). It counts a few right ones, and misses the look-alikes, which are harder to
suspect than drawn tags; on the benchmark's validation scenes the two were about equal. With it
follow the estimated precision and over-removal of every cut.

Evidence, each the rule id of a removal that it decided:

- `improbable`: the out-of-fold score on the whole image is low for this tag.
- `region_contradiction`: the tagger does not see the tag on its best region, or sees another tag
  of its kind there. RAM's rule is the first half alone.
- `cluster_outlier`: the region looks unlike the tag's other regions. RAM's other rule.
- `caption_mismatch`: the other tags of the same caption are improbable too (a swapped caption).

A tag that nothing localises (no region) is judged by the other evidence, which the `policy` of its
kind may forbid. A removal has one rule, the evidence that spoke most for it: undoing a rule gives
back its rows and no others.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from ram_model.vocabulary import KINDS
from ram_ray.config import require
from ram_ray.data_engine.evidence import Evidence

Rule = Literal["improbable", "region_contradiction", "cluster_outlier", "caption_mismatch"]
RULES: tuple[Rule, ...] = get_args(Rule)
Policy = Literal["judge", "keep"]
POLICIES: tuple[Policy, ...] = get_args(Policy)

FEATURES: tuple[tuple[str, Rule], ...] = (
    ("whole", "improbable"),
    ("whole_low", "improbable"),
    ("region", "region_contradiction"),
    ("rival", "region_contradiction"),
    ("not_found", "region_contradiction"),
    ("cluster", "cluster_outlier"),
    ("not_clustered", "cluster_outlier"),
    ("peers", "caption_mismatch"),
)
"""Columns of the regression and the rule each speaks for; higher is more suspicious."""

_EDGE = 1e-6
_CLIP = 6.0
LEAST_ROWS = 50
SWAPPED_SHARE = 0.15
"""Of the images with drawn wrong tags, those whose whole caption is another's."""
PRIOR_ROWS = 20.0
"""What the scale of all tags weighs in that of one tag."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FilterConfig:
    """How much may be removed, by which rules, of which tags."""

    rules: tuple[Rule, ...] = RULES
    """Evidence to use; one alone is that rule as an arm of its own."""
    min_precision: float = 0.5
    """Estimated share of wrong tags among the removed, 0..1."""
    max_over_removal: float = 0.06
    """Estimated share of right tags that are removed, 0..1."""
    policy: Mapping[str, Policy] = field(default_factory=lambda: dict.fromkeys(KINDS, "judge"))
    """Per kind, for tags that nothing localises: `judge` by the other evidence, or `keep`."""
    penalty: float = 1.0
    """L2 penalty of the regression, on standardised evidence."""

    def __post_init__(self) -> None:
        require(bool(self.rules), "rules", self.rules, "at least one rule")
        unknown = sorted(set(self.rules) - set(RULES))
        require(not unknown, "rules", unknown, f"of {', '.join(RULES)}")
        for name in ("min_precision", "max_over_removal"):
            value = getattr(self, name)
            require(0 < value < 1, name, value, "between 0 and 1")
        for kind, policy in self.policy.items():
            require(kind in KINDS, "policy", kind, f"of the kinds {', '.join(KINDS)}")
            require(policy in POLICIES, f"policy.{kind}", policy, " or ".join(POLICIES))
        require(self.penalty > 0, "penalty", self.penalty, "above 0")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Filter:
    """What `fit` learned: the same evidence always gets the same decision from it."""

    config: FilterConfig
    scales: "tuple[Scale, Scale, Scale]"
    """Of the whole-image score, the region's, and the region's margin over the rival (logits)."""
    centre: np.ndarray
    """float64 [F], the usual evidence of a named tag; contributions count from it."""
    weights: np.ndarray
    """float64 [F], of FEATURES, never below 0."""
    bias: float
    cut: float
    """Suspicion above which a tag is removed; infinite where no cut is good enough."""
    wrong_share: float
    """Estimated share of wrong tags among the named, 0..1."""
    precision: float
    """Estimated share of wrong tags among the removed; NaN where nothing is removed."""
    over_removal: float
    """Estimated share of right tags that are removed."""
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


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Scale:
    """What is usual for each tag among the named."""

    centre: np.ndarray
    """float64 [T], median."""
    spread: np.ndarray
    """float64 [T], robust standard deviation, above 0."""

    def __call__(self, values: np.ndarray, tag_ids: np.ndarray) -> np.ndarray:
        """Return how far below the usual each value is, in spreads, clipped; NaN gives 0."""
        below = (self.centre[tag_ids] - values) / self.spread[tag_ids]
        return np.clip(np.nan_to_num(below, nan=0.0), -_CLIP, _CLIP)

    @classmethod
    def of(cls, values: np.ndarray, tag_ids: np.ndarray, num_tags: int) -> "Scale":
        """Return the scale of values [M]; tags with few of them lean on all tags."""
        known = np.isfinite(values)
        centre, spread = _median_and_spread(values[known])
        centres, spreads = np.full(num_tags, centre), np.full(num_tags, spread)
        for tag_id in np.unique(tag_ids[known]).tolist():
            own = values[known & (tag_ids == tag_id)]
            weight = len(own) / (len(own) + PRIOR_ROWS)
            own_centre, own_spread = _median_and_spread(own)
            centres[tag_id] += weight * (own_centre - centre)
            spreads[tag_id] += weight * (own_spread - spread)
        return cls(centre=centres, spread=np.maximum(spreads, 0.25 * spread))


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WrongTags:
    """Tags that images do not have, as far as captions tell: what the filter learns against."""

    rows: np.ndarray
    """int64 [M], the image."""
    tag_ids: np.ndarray
    """int32 [M]."""
    swapped: np.ndarray
    """bool [M]: the image's whole caption was replaced, so the row's peers are the other wrong
    tags of that image; else the tag stands in the image's own caption."""


def draw_wrong_tags(
    observed: np.ndarray,
    generator: np.random.Generator,
    *,
    num_images: int | None = None,
    swapped_share: float = SWAPPED_SHARE,
) -> WrongTags:
    """Return tags of other images' captions, but those that the image's own caption names.

    Locate them like named tags. In Evidence a swapped row gets a caption id of its own per image,
    which no named row has; any other row gets the caption id of the image's own caption.

    Args:
        observed: bool [N, T].
        num_images: how many images get wrong tags; None: each.
        swapped_share: of the images, 0..1.
    """
    count = len(observed)
    empty = np.zeros(0, np.int64)
    if count < 2:
        return WrongTags(rows=empty, tag_ids=empty.astype(np.int32), swapped=empty.astype(bool))
    rows = np.arange(count)
    if num_images is not None and num_images < count:
        rows = np.sort(generator.choice(count, num_images, replace=False))
    others = (rows + generator.integers(1, count, len(rows))) % count
    swapped = generator.random(len(rows)) < swapped_share
    at, tag_ids = np.nonzero(observed[others] & ~observed[rows])
    return WrongTags(rows=rows[at], tag_ids=tag_ids.astype(np.int32), swapped=swapped[at])


def fit(
    named: Evidence, wrong: Evidence, num_tags: int, config: FilterConfig | None = None
) -> Filter:
    """Return the filter that tells named tags from wrong ones.

    Args:
        named: a sample of what captions name, whole captions.
        wrong: the evidence of `draw_wrong_tags`.

    Raises:
        ValueError: fewer than 50 rows on either side; too few to learn from.
    """
    config = config or FilterConfig()
    if min(len(named), len(wrong)) < LEAST_ROWS:
        sizes = f"{len(named)} named and {len(wrong)} wrong tags"
        raise ValueError(f"A filter needs at least {LEAST_ROWS} of each, but got {sizes}.")
    scales = (
        Scale.of(_logit(named.whole), named.tag_id, num_tags),
        Scale.of(_logit(named.region), named.tag_id, num_tags),
        Scale.of(_margin(named), named.tag_id, num_tags),
    )
    allowed = np.array([rule in config.rules for _, rule in FEATURES])
    x_named = _features(named, named, scales) * allowed
    x_wrong = _features(wrong, named, scales) * allowed
    weights, bias = _regress(x_named, x_wrong, config.penalty)
    bias = bias + float(x_named.mean(axis=0) @ weights)  # contributions count from the usual
    centre = x_named.mean(axis=0)
    s_named = (x_named - centre) @ weights + bias
    s_wrong = (x_wrong - centre) @ weights + bias
    cut, wrong_share, precision, over_removal = _choose_cut(s_named, s_wrong, config)
    return Filter(
        config=config,
        scales=scales,
        centre=centre,
        weights=weights,
        bias=bias,
        cut=cut,
        wrong_share=wrong_share,
        precision=precision,
        over_removal=over_removal,
        num_named=len(named),
        num_wrong=len(wrong),
    )


def decide(judge: Filter, evidence: Evidence, context: Evidence | None = None) -> Decisions:
    """Return which tags to remove, by which rule, and why.

    Args:
        evidence: whole captions, all their rows: rows of one caption are judged knowing each other.
        context: the rows that count as named beside the rows to judge (such as the caption's own,
            where `evidence` are generated tags); None: `evidence` itself.
    """
    x = _features(evidence, context or evidence, judge.scales) - judge.centre
    parts = x * judge.weights
    suspicion = parts.sum(axis=1) + judge.bias
    contributions = np.stack(
        [parts[:, [r == rule for _, r in FEATURES]].sum(axis=1) for rule in RULES], axis=1
    )
    may = ~_kept_by_policy(evidence, judge.config)
    removed = (suspicion > judge.cut) & may
    return Decisions(
        removed=removed,
        rule=np.where(removed, contributions.argmax(axis=1), -1).astype(np.int8),
        suspicion=suspicion.astype(np.float32),
        contributions=contributions.astype(np.float32),
    )


def _features(
    evidence: Evidence, context: Evidence, scales: tuple[Scale, Scale, Scale]
) -> np.ndarray:
    """Return float64 [M, F], the columns of FEATURES."""
    whole_scale, region_scale, margin_scale = scales
    tags = evidence.tag_id
    low = whole_scale(_logit(evidence.whole), tags)
    peers = _peers(evidence, low, context, whole_scale)
    not_found = np.isnan(evidence.region)
    not_clustered = np.isnan(evidence.cluster_z)
    columns = {
        "whole": low,
        "whole_low": -_logit(evidence.whole),
        "region": region_scale(_logit(evidence.region), tags),
        "rival": margin_scale(_margin(evidence), tags),
        "not_found": not_found,
        "cluster": np.clip(np.nan_to_num(evidence.cluster_z, nan=0.0), -_CLIP, _CLIP),
        "not_clustered": not_clustered,
        "peers": peers,
    }
    return np.stack([columns[name].astype(np.float64) for name, _ in FEATURES], axis=1)


def _peers(evidence: Evidence, low: np.ndarray, context: Evidence, scale: Scale) -> np.ndarray:
    """Return the mean lowness of the other tags of the same caption; 0, the usual, without any."""
    captions, own = np.unique(evidence.caption, return_inverse=True)
    size = len(captions)
    at = np.searchsorted(captions, context.caption)
    inside = np.flatnonzero((at < size) & (captions[np.minimum(at, size - 1)] == context.caption))
    context_low = scale(_logit(context.whole[inside]), context.tag_id[inside])
    total = np.bincount(at[inside], context_low, size)
    count = np.bincount(at[inside], minlength=size)
    itself = _is_in(evidence, context)
    # a caption of which the context knows nothing: its rows are each other's peers
    foreign = count[own] == 0
    own_total = np.bincount(own[foreign], low[foreign], size)
    own_count = np.bincount(own[foreign], minlength=size)
    sums = np.where(foreign, own_total[own] - low, total[own] - np.where(itself, low, 0))
    counts = np.where(foreign, own_count[own] - 1, count[own] - itself)
    return np.where(counts > 0, sums / np.maximum(counts, 1), 0.0)


def _is_in(evidence: Evidence, context: Evidence) -> np.ndarray:
    """Return bool [M]: the row's (caption, tag) is a row of the context."""
    size = int(max(evidence.tag_id.max(initial=0), context.tag_id.max(initial=0))) + 1
    return np.isin(
        evidence.caption * size + evidence.tag_id, context.caption * size + context.tag_id
    )


def _regress(named: np.ndarray, wrong: np.ndarray, penalty: float) -> tuple[np.ndarray, float]:
    """Return weights and bias of a logistic regression, both sides weighing the same.

    Evidence may only speak for a removal or be silent; the two "nothing known" columns may speak
    either way.
    """
    x = np.concatenate([named, wrong])
    y = np.concatenate([np.zeros(len(named)), np.ones(len(wrong))])
    rows = np.where(y == 1, 0.5 / len(wrong), 0.5 / len(named))
    deviation = x.std(axis=0)
    used = deviation > 0
    unit = x / np.where(used, deviation, 1)

    def loss(theta: np.ndarray) -> tuple[float, np.ndarray]:
        z = unit @ theta[1:] + theta[0]
        value = float(rows @ (np.logaddexp(0, z) - y * z))
        slope = rows * (expit(z) - y)
        l2 = penalty / len(x)
        value += 0.5 * l2 * float(theta[1:] @ theta[1:])
        return value, np.concatenate([[slope.sum()], unit.T @ slope + l2 * theta[1:]])

    free = {"not_found", "not_clustered"}
    bounds: list[tuple[float | None, float | None]] = [(None, None)]
    for (name, _), is_used in zip(FEATURES, used, strict=True):
        bounds.append((0, 0) if not is_used else (None, None) if name in free else (0, None))
    found = minimize(loss, np.zeros(x.shape[1] + 1), jac=True, method="L-BFGS-B", bounds=bounds)
    return found.x[1:] / np.where(used, deviation, 1), float(found.x[0])


def _choose_cut(
    named: np.ndarray, wrong: np.ndarray, config: FilterConfig
) -> tuple[float, float, float, float]:
    """Return the lowest cut that keeps both promises, and the estimates at it."""
    cuts = np.unique(np.quantile(named, np.linspace(0.4, 1, 600)))[:-1]
    share_named = np.array([(named > cut).mean() for cut in cuts])
    share_wrong = np.array([(wrong > cut).mean() for cut in cuts])
    enough = share_named * len(named) >= LEAST_ROWS / 2
    if not enough.any():
        return float("inf"), 0.0, float("nan"), 0.0
    half = int(np.argmin(np.abs(share_wrong - 0.5)))
    wrong_share = float(min(share_named[half] / max(share_wrong[half], _EDGE), 0.5))
    found = wrong_share * share_wrong
    precision = found / np.maximum(share_named, _EDGE)
    over = np.maximum(share_named - found, 0) / (1 - wrong_share)
    good = enough & (precision >= config.min_precision) & (over <= config.max_over_removal)
    if not good.any():
        return float("inf"), wrong_share, float("nan"), 0.0
    at = int(np.argmax(good))
    return float(cuts[at]), wrong_share, float(min(precision[at], 1)), float(over[at])


def _kept_by_policy(evidence: Evidence, config: FilterConfig) -> np.ndarray:
    keep = np.array([config.policy.get(kind, "judge") == "keep" for kind in KINDS])
    return keep[evidence.kind] & np.isnan(evidence.region)


def _margin(evidence: Evidence) -> np.ndarray:
    """Return how much surer the tagger is of the tag than of its rival there; NaN without."""
    return _logit(evidence.region) - _logit(evidence.rival)


def _logit(scores: np.ndarray) -> np.ndarray:
    return logit(np.clip(scores.astype(np.float64), _EDGE, 1 - _EDGE))


def _median_and_spread(values: np.ndarray) -> tuple[float, float]:
    if len(values) == 0:
        return 0.0, 1.0
    centre = float(np.median(values))
    return centre, max(1.4826 * float(np.median(np.abs(values - centre))), 1e-3)

"""How much the evidence speaks against a tag: columns, their usual values, and their weights."""

from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.special import expit, logit

from ram_ray.data_engine.config import Rule
from ram_ray.data_engine.filter.evidence import Evidence

FEATURES: tuple[tuple[str, Rule], ...] = (
    ("whole", "improbable"),
    ("whole_low", "improbable"),
    ("region", "region_contradiction"),
    ("rival", "region_contradiction"),
    ("not_found", "region_contradiction"),
    ("cluster", "cluster_outlier"),
    ("not_clustered", "cluster_outlier"),
    ("peers", "caption_mismatch"),
    ("misfit", "caption_mismatch"),
)
"""Columns of the regression and the rule each speaks for; higher is more suspicious."""

_EDGE = 1e-6
_CLIP = 6.0

PRIOR_ROWS = 20.0
"""What the scale of all tags weighs in that of one tag."""


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
class Usual:
    """What is usual among the named tags."""

    whole: Scale
    """Of the whole-image score (logits)."""
    region: Scale
    """Of the score on the region."""
    margin: Scale
    """Of the score on the region, over the rival's there."""
    rate: np.ndarray
    """float64 [T], logit of the share of captions that name the tag."""

    @classmethod
    def of(cls, named: Evidence, num_tags: int) -> "Usual":
        """Return what is usual among these captions."""
        tags, captions = named.tag_id, len(np.unique(named.caption))
        counts = np.bincount(tags, minlength=num_tags)
        return cls(
            whole=Scale.of(_logit(named.whole), tags, num_tags),
            region=Scale.of(_logit(named.region), tags, num_tags),
            margin=Scale.of(_margin(named), tags, num_tags),
            rate=logit((counts + 0.5) / (captions + 1.0)),
        )


def columns_of(evidence: Evidence, context: Evidence, usual: Usual) -> np.ndarray:
    """Return float64 [M, F], the columns of FEATURES.

    Args:
        context: the rows that stand in captions; a caption it does not know is that of `evidence`.
    """
    tags = evidence.tag_id
    unknown = ~np.isin(evidence.caption, context.caption)
    if unknown.any():
        context = Evidence.join([context, evidence.where(unknown)])
    total, count = _of_the_others(evidence, context, _lowness(context, usual))
    gains, _ = _of_the_others(evidence, context, _gain(context, usual))
    columns = {
        "whole": _lowness(evidence, usual),
        "whole_low": -_logit(evidence.whole),
        "region": usual.region(_logit(evidence.region), tags),
        "rival": usual.margin(_margin(evidence), tags),
        "not_found": np.isnan(evidence.region),
        "cluster": np.clip(np.nan_to_num(evidence.cluster_z, nan=0.0), -_CLIP, _CLIP),
        "not_clustered": np.isnan(evidence.cluster_z),
        "peers": np.where(count > 0, total / np.maximum(count, 1), 0.0),
        "misfit": evidence.expected - gains,
    }
    return np.stack([columns[name].astype(np.float64) for name, _ in FEATURES], axis=1)


def misfit_of_captions(evidence: Evidence, usual: Usual) -> tuple[np.ndarray, np.ndarray]:
    """Return how ill each caption fits its image, float64 [C], and its number of tags, int64 [C].

    It is minus the log likelihood ratio of the caption under the image's scores and under the
    usual rates, but for a constant: what the model expects, less what the caption says of it.
    """
    _, first, own = np.unique(evidence.caption, return_index=True, return_inverse=True)
    gains = np.bincount(own, _gain(evidence, usual), len(first))
    return evidence.expected[first] - gains, np.bincount(own, minlength=len(first))


def _lowness(evidence: Evidence, usual: Usual) -> np.ndarray:
    return usual.whole(_logit(evidence.whole), evidence.tag_id)


def _gain(evidence: Evidence, usual: Usual) -> np.ndarray:
    """Return how much likelier the image makes each tag than it is in any caption, in nats."""
    return np.clip(_logit(evidence.whole) - usual.rate[evidence.tag_id], -_CLIP, _CLIP)


def _of_the_others(
    evidence: Evidence, context: Evidence, values: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Return sum and number of a value [context] over the other tags of each row's caption."""
    captions, own = np.unique(evidence.caption, return_inverse=True)
    size = len(captions)
    at = np.searchsorted(captions, context.caption)
    inside = np.flatnonzero((at < size) & (captions[np.minimum(at, size - 1)] == context.caption))
    total = np.bincount(at[inside], values[inside], size)
    count = np.bincount(at[inside], minlength=size)
    width = int(max(evidence.tag_id.max(initial=0), context.tag_id.max(initial=0))) + 1
    keys = evidence.caption * width + evidence.tag_id
    others = context.caption[inside] * width + context.tag_id[inside]
    order = np.argsort(others)
    place = np.minimum(np.searchsorted(others[order], keys), max(len(others) - 1, 0))
    itself = others[order][place] == keys if len(others) else np.zeros(len(keys), bool)
    mine = np.where(itself, values[inside][order][place], 0) if len(others) else 0.0
    return total[own] - mine, count[own] - itself


def regress(
    named: np.ndarray, wrong: np.ndarray, weight: np.ndarray, penalty: float
) -> tuple[np.ndarray, float]:
    """Return weights and bias of a logistic regression, both sides weighing the same.

    Evidence may only speak for a removal or be silent; the two "nothing known" columns may speak
    either way.

    Args:
        named: float64 [M, F].
        wrong: float64 [W, F].
        weight: float64 [W], what each wrong row counts.
        penalty: of L2, on standardised columns.
    """
    x = np.concatenate([named, wrong])
    y = np.concatenate([np.zeros(len(named)), np.ones(len(wrong))])
    rows = np.concatenate([np.full(len(named), 0.5 / len(named)), 0.5 * weight / weight.sum()])
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

"""Which tags to add: a threshold per tag that keeps the added ones as precise as asked for.

    thresholds = choose_thresholds(scores, observed, target_precision=0.9)
    added = additions(scores, observed, thresholds)

Nobody labels anything for it. The scores are out of fold: the model that scores an image has not
seen its caption, so captions are witnesses (`addition_evidence`). Thresholds are the lowest that
these witnesses allow (`threshold_search`); whether they keep the target is checked on images that
they were not chosen on (`addition_promises`). Where none do, nothing is added.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ram_model.metrics import PRESENT, UNVERIFIED
from ram_ray.config import require
from ram_ray.data_engine.generate.evidence import Evidence, Rule, Told, has_plateau, plateau
from ram_ray.data_engine.generate.promises import Kept, keep, least
from ram_ray.data_engine.generate.threshold_search import NEVER, Found

NO_PLATEAU = (
    "the images' own captions do not tell how often the model is right: they name a tag more often "
    "the surer the model is, even among the images it is surest of. Give second captions or "
    "trusted labels"
)
NOTHING_LIKELY = "no tag is likely enough to be right where no caption names it"
WITNESSES = {
    "trusted": "the trusted labels",
    "agreement": "other captions of the images",
    "own_caption": "the images' own captions",
}
"""By evidence, in words."""


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
    kept: Kept | None = None
    """What was found out of fold, of all rules together; None: nothing could be checked."""
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
    """Return the lowest threshold per tag whose additions keep the target.

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
    (chosen,) = choose_together(
        scores, observed, [candidates],
        target_precision=target_precision, agreement=agreement, trusted=trusted,
    )  # fmt: skip
    return chosen


def choose_together(
    scores: np.ndarray,
    observed: np.ndarray,
    candidates: Sequence[np.ndarray | None],
    *,
    target_precision: float = 0.9,
    agreement: np.ndarray | None = None,
    trusted: tuple[np.ndarray, np.ndarray] | None = None,
) -> list[Thresholds]:
    """Return thresholds for each set of candidates; the additions of all together keep the target.

    Each alone is chosen for the target, and checked with the others: two rules agree more about
    what is right than about what is wrong, so what either adds is less precise than what one adds.
    Arguments as of `choose_thresholds`.
    """
    require(0 < target_precision < 1, "target_precision", target_precision, "between 0 and 1")
    for each in candidates:
        _check(scores, observed, agreement, each)
    told = _told(scores, observed, candidates, agreement, trusted)
    if told.kind == "own_caption" and not has_plateau(scores, observed):
        return [_nothing(scores.shape[1], told.kind, NO_PLATEAU) for _ in candidates]
    found, kept, holds = keep(told, target_precision)
    if not holds:
        reason = _broken(kept, told.kind, target_precision)
        return [_nothing(scores.shape[1], told.kind, reason, kept) for _ in candidates]
    return [_thresholds(each, told.kind, kept) for each in found]


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


def _told(
    scores: np.ndarray,
    observed: np.ndarray,
    candidates: Sequence[np.ndarray | None],
    agreement: np.ndarray | None,
    trusted: tuple[np.ndarray, np.ndarray] | None,
) -> Told:
    """Return the images that the best evidence there is speaks about."""
    considered = [np.ones_like(observed, bool) if one is None else one for one in candidates]
    if trusted is not None:
        rows = np.asarray(trusted[0])
        rules = tuple(
            Rule(considered=one[rows], mentioned=plateau(scores, observed & one, one))
            for one in considered
        )
        return Told(
            kind="trusted", scores=scores[rows], observed=observed[rows], said=trusted[1],
            rules=rules,
        )  # fmt: skip
    rules = tuple(Rule(considered=one) for one in considered)
    own = Told(kind="own_caption", scores=scores, observed=observed, said=observed, rules=rules)
    if agreement is None:
        return own
    agreeing = np.flatnonzero((agreement != UNVERIFIED).any(axis=1))
    if len(agreeing) == 0:
        return own
    return replace(own, kind="agreement", said=agreement == PRESENT).where(agreeing)


def _thresholds(found: Found, evidence: Evidence, kept: Kept) -> Thresholds:
    return Thresholds(
        values=found.values,
        precision=found.precision,
        num_additions=found.num_additions,
        evidence=evidence,
        kept=kept,
    )


def _nothing(
    num_tags: int, evidence: Evidence, reason: str, kept: Kept | None = None
) -> Thresholds:
    return Thresholds(
        values=np.full(num_tags, NEVER, np.float32),
        precision=np.full(num_tags, np.nan, np.float32),
        num_additions=np.zeros(num_tags, np.int64),
        evidence=evidence,
        kept=kept,
        reason=reason,
    )


def _broken(kept: Kept, evidence: Evidence, target: float) -> str:
    """Return in words why no thresholds keep the target."""
    if kept.precision != kept.precision:
        return NOTHING_LIKELY
    return (
        f"no thresholds keep the {target:.0%} asked for on images that they were not chosen on. "
        f"Of the {kept.num_additions:,} additions that came nearest, by {WITNESSES[evidence]} "
        f"about {kept.precision:.0%} are right, with 95 % certainty at least {kept.at_least:.0%}; "
        f"{target:.0%} and {least(target):.0%} are needed"
    )


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

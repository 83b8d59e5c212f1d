"""The figures of an evaluation, each with the convention it follows; all go to evaluation.json."""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from ram_model.metrics import (
    ABSENT,
    PRESENT,
    UNVERIFIED,
    average_precisions,
    bootstrap_interval,
    decision_scores,
    expected_calibration_error,
    mean_average_precision,
    reference_mean_average_precision,
)
from ram_ray.evaluation.limits import LimitsInput, measure_limits
from ram_ray.evaluation.scored import ScoredImages

FREQUENCY_BINS = ((1, 19), (20, 99), (100, None))
"""Known positives of a tag; below 20, average precision moves by several points."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TagFigures:
    """One tag."""

    tag_id: int
    name: str
    kind: str
    positives: int
    negatives: int
    average_precision: float | None
    """None without a known positive."""
    threshold: float
    given: int
    """Images given the tag, unverified ones included."""
    precision: float | None
    """None where no labelled image was given it."""
    recall: float | None


def measure(scored: ScoredImages, *, num_draws: int = 200, seed: int = 0) -> dict[str, Any]:
    """Return the figures as plain numbers, texts, lists and dicts.

    Args:
        num_draws: bootstrap samples of the images behind each 95 % interval.
    """
    labels, scores = scored.labels, scored.scores
    given = scores > scored.thresholds
    return {
        "model": scored.model_id,
        "images": len(scored.image_ids),
        "tags": len(scored.tag_ids),
        "known_labels": int((labels != UNVERIFIED).sum()),
        "images_without_labels": scored.num_unlabelled,
        "labelled_images_not_tagged": scored.num_untagged,
        "names_without_tag": list(scored.names_without_tag),
        "names_switched_off": list(scored.names_switched_off),
        "score_floor": scored.score_floor,
        "map": _map(labels, scores, num_draws, seed),
        "at_thresholds": asdict(decision_scores(labels, given)),
        "at_0.5": asdict(decision_scores(labels, scores > 0.5)),
        "calibration_error": expected_calibration_error(labels, scores),
        "by_kind": _groups(scored, {kind: _of_kind(scored, kind) for kind in set(scored.kinds)}),
        "by_positives": _groups(scored, _by_frequency(labels)),
        "limits": measure_limits(_limits_input(scored), num_draws=num_draws, seed=seed),
        "per_tag": [asdict(tag) for tag in _per_tag(scored, given)],
    }


def _limits_input(scored: ScoredImages) -> LimitsInput:
    """Return the columns with the sets of tags that share a parent in the vocabulary."""
    children: dict[int, list[int]] = {}
    for column, tag_id in enumerate(scored.tag_ids):
        for parent in scored.vocabulary.parents[tag_id]:
            children.setdefault(parent, []).append(column)
    return LimitsInput(
        labels=scored.labels,
        scores=scored.scores,
        names=scored.names,
        kinds=scored.kinds,
        siblings=tuple(tuple(row) for row in children.values() if len(row) > 1),
    )


def _map(labels: np.ndarray, scores: np.ndarray, num_draws: int, seed: int) -> dict[str, Any]:
    def over(measure: Any) -> dict[str, Any]:
        low, high = bootstrap_interval(
            lambda rows: measure(labels[rows], scores[rows]),
            len(labels),
            num_draws=num_draws,
            seed=seed,
            bounds=(0.0, 1.0),
        )
        return {"value": measure(labels, scores), "interval": [low, high]}

    return {
        "known_labels_only": over(mean_average_precision),
        "reference_protocol": over(reference_mean_average_precision),
        # equal scores for every image: what knowing only how frequent tags are is worth
        "prior": mean_average_precision(labels, np.zeros_like(scores)),
    }


def _groups(scored: ScoredImages, columns: dict[str, np.ndarray]) -> dict[str, Any]:
    return {
        name: {
            "tags": len(chosen),
            "map": mean_average_precision(scored.labels[:, chosen], scored.scores[:, chosen]),
            "prior": mean_average_precision(
                scored.labels[:, chosen], np.zeros_like(scored.scores[:, chosen])
            ),
        }
        for name, chosen in sorted(columns.items())
        if (scored.labels[:, chosen] == PRESENT).any()
    }


def _of_kind(scored: ScoredImages, kind: str) -> np.ndarray:
    return np.flatnonzero(np.array(scored.kinds) == kind)


def _by_frequency(labels: np.ndarray) -> dict[str, np.ndarray]:
    count = (labels == PRESENT).sum(0)
    return {
        f"{low} or more" if high is None else f"{low} to {high}": np.flatnonzero(
            (count >= low) & (count <= (high or len(labels)))
        )
        for low, high in FREQUENCY_BINS
    }


def _per_tag(scored: ScoredImages, given: np.ndarray) -> list[TagFigures]:
    labels = scored.labels
    precisions = average_precisions(labels, scored.scores)
    figures = []
    for column, tag_id in enumerate(scored.tag_ids):
        of_tag, fired = labels[:, column], given[:, column]
        right = int((fired & (of_tag == PRESENT)).sum())
        checked = int((fired & (of_tag != UNVERIFIED)).sum())
        positives = int((of_tag == PRESENT).sum())
        figures.append(
            TagFigures(
                tag_id=tag_id,
                name=scored.names[column],
                kind=scored.kinds[column],
                positives=positives,
                negatives=int((of_tag == ABSENT).sum()),
                average_precision=float(precisions[column]) if positives else None,
                threshold=float(scored.thresholds[column]),
                given=int(fired.sum()),
                precision=right / checked if checked else None,
                recall=right / positives if positives else None,
            )
        )
    return figures

"""The rules of one selection: from a batch's logits to what each image's caller is told."""

import dataclasses
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch import Tensor

from ram_model import ModelOutputError, Tagger, Vocabulary
from ram_model.tag_choice import resolve_thresholds
from ram_model.tag_selection import Tags, TagSelection
from ram_ray.errors import ImageErrorCode
from ram_ray.serving.models.backend import Failure, ModelCard, Outcome, Prediction, Selection


@dataclass(frozen=True, slots=True, eq=False)
class Rules:
    """A selection worked out for a tagger."""

    tagger: Tagger
    columns: Tensor | None
    """int64 [k] of the logits; None: all of them."""
    select: TagSelection
    guide: TagSelection | None
    """Tags that guide a caption: those above their thresholds; None: no caption is wanted."""
    card: ModelCard
    """Which the rules were made for."""
    vocabulary: Vocabulary
    """The card's, and words new to it."""
    thresholds: np.ndarray
    """float32, by tag id."""
    notes: tuple[str, ...]


def thresholds_and_choice(
    tagger: Tagger, vocabulary: Vocabulary, ids: list[int] | None, selection: Selection
) -> dict[str, Any]:
    """Return `thresholds`, `select` and `guide` of Rules."""
    thresholds = resolve_thresholds(selection.threshold, vocabulary).copy()
    for name, value in selection.thresholds:
        thresholds[vocabulary.find(name)] = value
    chosen = list(range(len(vocabulary))) if ids is None else ids

    def choice(top_k: int | None, score_floor: float | None) -> TagSelection:
        return TagSelection(
            tag_ids=chosen,
            thresholds=thresholds[chosen],
            names=vocabulary.names,
            top_k=top_k,
            score_floor=score_floor,
        ).to(tagger.device)

    return {
        "thresholds": thresholds,
        "select": choice(selection.top_k, selection.score_floor),
        "guide": choice(None, None) if selection.caption else None,
    }


def select_tags(select: TagSelection, logits: Tensor) -> list[Tags | Failure]:
    """Return the tags of each image; one whose logits are not finite fails alone."""
    try:
        return list(select(logits))
    except ModelOutputError as error:
        if len(logits) == 1:
            return [Failure(ImageErrorCode.MODEL_ERROR, str(error))]
    # one image's NaN must not fail its neighbours
    return [found for row in logits for found in select_tags(select, row[None])]


def outcome_of(tags: Tags | Failure, rules: Rules) -> Outcome:
    """Return what the API says of an image's tags."""
    if isinstance(tags, Failure):
        return tags
    vocabulary = rules.vocabulary
    return Prediction(
        version=rules.card.info.version,
        tag_ids=tags.tag_ids,
        scores=tags.scores,
        thresholds=rules.thresholds[tags.tag_ids],
        names=tags.names,
        names_zh=[vocabulary.names_zh[tag_id].strip() for tag_id in tags.tag_ids],
        kinds=[vocabulary.kinds[tag_id] for tag_id in tags.tag_ids],
        notes=rules.notes,
    )


def with_captions(
    tagger: Tagger,
    images: np.ndarray,
    guides: list[Tags | Failure],
    outcomes: list[Outcome],
) -> list[Outcome]:
    """Write captions; the image is encoded again, which the writing takes many times of."""
    words = [[] if isinstance(guide, Failure) else guide.names for guide in guides]
    written = tagger(images, caption_tags=words)
    return [
        dataclasses.replace(
            outcome, caption=tags.caption, caption_confidence=tags.caption_confidence
        )
        if isinstance(outcome, Prediction)
        else outcome
        for outcome, tags in zip(outcomes, written, strict=True)
    ]

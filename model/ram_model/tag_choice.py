"""What a tagger decides on: the tags, old and new, their ids and thresholds."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, TypedDict

import numpy as np
from torch import Tensor

from ram_model.networks.ram import Ram
from ram_model.tag_selection import TagSelection
from ram_model.vocabulary import OFF, Vocabulary
from ram_model.words.open_set import add_labels


class TagOptions(TypedDict, total=False):
    """Which tags a `Tagger` gives, and from which score up; all may be left out."""

    tags: Sequence[str] | None
    """Decide on these names (or aliases) only, at a decoder cost in proportion; known ones score
    as in the full model, others need an entry in `new_labels`."""
    threshold: float | Sequence[float] | None
    """One for all tags but those the vocabulary switches off (1.0), or one per tag of the whole
    vocabulary, in id order. 0..1; None: the vocabulary's own."""
    top_k: int | None
    """At most this many tags per image, the best."""
    score_floor: float | None
    """Also give tags with a score from here up, 0..1, but never those switched off: new thresholds
    then need no second pass."""
    new_labels: Mapping[str, Tensor] | None
    """Label embeddings float [K, E] of words in `tags` that the vocabulary lacks; they get the ids
    after the vocabulary's last, in the order of `new_labels`."""
    open_set_threshold: float | None
    """Of those words, where `threshold` is not one number for all; None: the one in the model's
    configuration."""


class ChosenTags(NamedTuple):
    """A model whose outputs are the chosen tags, and what to know about each of them."""

    model: Ram
    vocabulary: Vocabulary
    """The whole one, new words at its end."""
    tag_ids: list[int]
    """Of the model's outputs, in their order."""
    thresholds: np.ndarray
    """float32 [tags of the vocabulary], 0..1."""

    def selection(
        self, *, top_k: int | None = None, score_floor: float | None = None
    ) -> TagSelection:
        """Return the rule that turns the model's logits into tags."""
        return TagSelection(
            tag_ids=self.tag_ids,
            thresholds=self.thresholds[self.tag_ids],
            names=self.vocabulary.names,
            top_k=top_k,
            score_floor=score_floor,
        )


def choose_tags(model: Ram, vocabulary: Vocabulary, options: TagOptions) -> ChosenTags:
    """Work out what a tagger decides on.

    Raises:
        ValueError: another vocabulary than the model's, no tags, numbers out of their range.
        UnknownTagError: `tags` holds names that neither the vocabulary nor `new_labels` does.
    """
    _check_limits(options)
    if len(vocabulary) != model.config.num_tags:
        raise ValueError(
            f"vocabulary holds {len(vocabulary)} tags, but must hold the "
            f"{model.config.num_tags} of the model."
        )
    tags, threshold = options.get("tags"), options.get("threshold")
    thresholds = resolve_thresholds(threshold, vocabulary)
    if tags is None:
        return ChosenTags(model, vocabulary, list(range(len(vocabulary))), thresholds)
    if not tags:
        raise ValueError("tags is empty, but must name at least one tag, or be left out.")
    new_threshold = model.config.open_set_threshold
    for given in (options.get("open_set_threshold"), threshold):
        new_threshold = given if isinstance(given, int | float) else new_threshold
    model, vocabulary, tag_ids = _with_new_words(
        model, vocabulary, tags, options.get("new_labels") or {}, new_threshold
    )
    thresholds = np.concatenate([thresholds, vocabulary.thresholds[len(thresholds) :]])
    return ChosenTags(model, vocabulary, tag_ids, thresholds)


def resolve_thresholds(
    threshold: float | Sequence[float] | None, vocabulary: Vocabulary
) -> np.ndarray:
    """Return the threshold of every tag of the vocabulary, float32 [tags].

    Raises:
        ValueError: a number outside 0..1, or not one number per tag.
    """
    own = vocabulary.thresholds
    if threshold is None:
        return own
    given = np.asarray(threshold, dtype=np.float32)
    if not ((given >= 0) & (given <= 1)).all():
        raise ValueError(f"threshold is {threshold!r}, but must be between 0 and 1.")
    if given.ndim == 0:
        return np.where(own < OFF, given, own).astype(np.float32)
    if given.shape != own.shape:
        raise ValueError(
            f"threshold holds {given.size} numbers, but must hold {len(own)}, one per tag of the "
            f"vocabulary."
        )
    return given


def _with_new_words(
    model: Ram,
    vocabulary: Vocabulary,
    tags: Sequence[str],
    new_labels: Mapping[str, Tensor],
    new_threshold: float,
) -> tuple[Ram, Vocabulary, list[int]]:
    """Return the model of `tags`, the vocabulary with the new ones at its end, and the ids."""
    tag_ids, new = vocabulary.split(tags)
    unknown = [word for word in new if word not in new_labels]
    if unknown:
        vocabulary.tag_ids_of(unknown)  # raises, naming them
    model = add_labels(model, tag_ids, {word: new_labels[word] for word in new})
    first = len(vocabulary)
    vocabulary = vocabulary.extended(new, new_threshold) if new else vocabulary
    return model, vocabulary, [*tag_ids, *range(first, len(vocabulary))]


def _check_limits(options: TagOptions) -> None:
    top_k = options.get("top_k")
    if top_k is not None and top_k < 1:
        raise ValueError(f"top_k is {top_k!r}, but must be at least 1.")
    for name in ("score_floor", "open_set_threshold"):
        value = options.get(name)
        if value is not None and not 0 <= value <= 1:
            raise ValueError(f"{name} is {value!r}, but must be between 0 and 1.")

"""Any words as tags: the ones a model knows keep their labels, the others get new ones."""

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from ram_model.errors import LabelError, UnknownTagError
from ram_model.networks.ram import Ram
from ram_model.opened_model import OpenedModel
from ram_model.words.label_embeddings import embed_words, find_label_source


class NewLabels(NamedTuple):
    """Label embeddings of the words that a model does not know."""

    labels: Mapping[str, Tensor]
    """float32 [K, E] by word, in the order the words were given."""
    fingerprint: str
    """Hash of what they were made from."""
    note: str
    """What a user should know about them, in one sentence."""


def embed_new_words(
    opened: OpenedModel,
    words: Sequence[str],
    *,
    text_encoder: str | Path | None = None,
    descriptions: str | Path | None = None,
    device: str = "cpu",
) -> NewLabels | None:
    """Return label embeddings of the words that `opened` does not know; None where it knows all.

    Args:
        text_encoder: folder or weight file instead of the model folder's own.
        descriptions: JSON file in the published format, for RAM++.
        device: where the text encoder runs.

    Raises:
        UnknownTagError: the model cannot take new words; the message says what would work.
        LabelError: text encoder, templates or descriptions cannot be used.
    """
    config = opened.config
    if descriptions is not None and config.kind != "ram_plus":
        raise LabelError("descriptions are for RAM++: other models take one embedding per tag.")
    for name, value in (("descriptions", descriptions), ("text_encoder", text_encoder)):
        if value is not None and not words:
            raise LabelError(f"{name} is for new tags: name them with tags.")
    _, new = opened.vocabulary.split(words)
    if not new:
        return None
    if config.train_labels:
        raise UnknownTagError(
            f"{opened.model_id} has learnt its {len(opened.vocabulary)} tags and takes no others: "
            f"{_names(new, opened)}; any words work with RAM or RAM++ "
            f"(`ram-ray model fetch ram-plus`)."
        )
    source = find_label_source(opened.folder, text_encoder=text_encoder, descriptions=descriptions)
    if source is None:
        raise UnknownTagError(
            f"{opened.model_id} has no text encoder, which new tags need: {_names(new, opened)}; "
            f"name one with text_encoder, or let `ram-ray model fetch` add it to the folder."
        )
    labels = embed_words(source, config, new, device=device)
    made_of = source.templates_note
    if config.kind == "ram_plus":
        described = sum(word in source.descriptions for word in new)
        made_of = f"{described} with descriptions, {len(new) - described} with {made_of}"
    note = f"New to the model, scored by their text alone: {', '.join(new[:5])}"
    note += f" and {len(new) - 5} more" if len(new) > 5 else ""
    return NewLabels(labels, source.fingerprint(config, new), f"{note} ({made_of}).")


def add_labels(model: Ram, tag_ids: Sequence[int], labels: Mapping[str, Tensor]) -> Ram:
    """Return a model of the tags `tag_ids` and then of the new `labels`."""
    if not labels:
        return model.select_tags(tag_ids)
    # select first: the full table of RAM++ has 480 MB, and is never copied
    extended = model.select_tags(tag_ids or [0]).append_tags(list(labels.values()))
    return extended if tag_ids else extended.select_tags(range(1, 1 + len(labels)))


def _names(new: Sequence[str], opened: OpenedModel) -> str:
    """Return the unknown words, each with the known one it may be meant for."""
    known = {name.casefold(): name for name in opened.vocabulary.names}
    shown = []
    for word in new[:10]:
        close = difflib.get_close_matches(word.casefold(), known, n=1, cutoff=0.65)
        shown.append(f"{word!r} (did you mean {known[close[0]]!r}?)" if close else repr(word))
    more = f" and {len(new) - 10} more" if len(new) > 10 else ""
    return ", ".join(shown) + more

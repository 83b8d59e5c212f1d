"""The second tier: parts of speech from a spaCy pipeline that is installed, instead of the rules.

Only words that carry meaning are read anew; function words, names of several words and everything
that follows (roles, absence, tags) stay as they are. Slower by far than the rules.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ram_ray.errors import ConfigError
from ram_ray.labels.parser import speech

_PARTS = {
    "NOUN": speech.NOUN,
    "PROPN": speech.NOUN,
    "ADJ": speech.ADJ,
    "ADV": speech.ADV,
    "VERB": speech.VERB,
}
_VERB_FORMS = {"VBG": speech.VING, "VBD": speech.VED, "VBN": speech.VED}
_CONTENT = speech.NOUN | speech.ADJ | speech.ADV | speech.VERB | speech.VING | speech.VED
_MEANINGLESS = 0


def load_pipeline(name: str) -> Any:
    """Return an installed spaCy pipeline, such as en_core_web_sm.

    Raises:
        ConfigError: spaCy, or the pipeline, is not installed.
    """
    try:
        import spacy  # pyright: ignore[reportMissingImports]
    except ImportError as error:
        raise ConfigError(
            f"spacy is {name!r}, but spaCy is not installed: pip install spacy, and a pipeline."
        ) from error
    try:
        return spacy.load(name, exclude=["ner", "parser", "lemmatizer"])
    except OSError as error:
        raise ConfigError(f"spacy is {name!r}, but no such pipeline is installed.") from error


def retag(
    pipeline: Any,
    captions: Sequence[str],
    caption: np.ndarray,
    start: np.ndarray,
    tags: np.ndarray,
) -> np.ndarray:
    """Return parts of speech with content words as the pipeline reads them, uint32 [n].

    Args:
        caption: int64 [n], the caption of each token.
        start: int64 [n], its first character in the caption.
        tags: uint32 [n], as the rules read them; kept where the pipeline cuts words otherwise.
    """
    read: list[dict[int, int]] = []
    for document in pipeline.pipe(captions):
        read.append({token.idx: _part(token) for token in document})
    tags = tags.copy()
    for at in np.flatnonzero(tags & _CONTENT).tolist():
        part = read[int(caption[at])].get(int(start[at]), _MEANINGLESS)
        if part != _MEANINGLESS:
            tags[at] = part
    return tags


def _part(token: Any) -> int:
    if token.pos_ == "VERB":
        return _VERB_FORMS.get(token.tag_, speech.VERB)
    return _PARTS.get(token.pos_, _MEANINGLESS)

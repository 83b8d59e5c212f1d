"""Captions to tokens: a whole batch at once, as flat arrays, with the place of every token.

Text is folded to one ASCII byte per character first, so that places count characters of the
caption as it was given, whatever its script.
"""

import unicodedata
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pyarrow as pa

FOREIGN = "\x7f"
"""Stands for a letter with no ASCII form (other scripts); part of a word that matches nothing."""
_END = "\n"

_ALIKE = {
    **dict.fromkeys("\u2018\u2019\u02bc\u0060\u00b4", "'"),
    **dict.fromkeys("\u201c\u201d\u00ab\u00bb\u2026", '"'),
    **dict.fromkeys("\u2010\u2011\u2212", "-"),
    **dict.fromkeys("\u2012\u2013\u2014\u2015\u2022\u00b7\u00d7\u3001\uff0c", ","),
    **dict.fromkeys("\u3002\uff01\uff1f\uff1b\uff1a\uff0e\u00a1\u00bf\u2028\u2029", "."),
    "\u00df": "s",
    "\u00e6": "a",
    "\u00f8": "o",
    "\u0142": "l",
    "\u0131": "i",
}


class _Fold(dict[int, str]):
    """A `str.translate` table that learns characters as it meets them."""

    def __missing__(self, code: int) -> str:
        folded = self[code] = _fold_character(chr(code))
        return folded


def _fold_character(character: str) -> str:
    if character.isascii():
        return character
    if character in _ALIKE:
        return _ALIKE[character]
    plain = unicodedata.normalize("NFKD", character.lower())[:1]
    if plain.isascii() and plain:
        return plain
    if unicodedata.combining(character) or character in "\u200d\ufe0f":
        return "'"  # joins what is around it, and is stripped from the ends of a word
    return FOREIGN if character.isalpha() else ","  # an emoji parts phrases as a comma does


_FOLD = _Fold()


def fold(caption: str) -> str:
    """Return the caption in lower-case ASCII, character by character."""
    if not caption.isascii():
        caption = caption.translate(_FOLD)
    return caption.lower()


class Tokens(NamedTuple):
    """Words and the gaps between them, in order; parallel arrays but for `segments`."""

    segment: np.ndarray
    """int32 [n]: index into `segments`."""
    start: np.ndarray
    """int64 [n]: first byte in the folded batch; see `place`."""
    segments: list[str]
    """The distinct words and gaps of the batch, folded."""
    caption_start: np.ndarray
    """int64 [captions]: where each caption starts in the folded batch."""
    size: int
    """Length of the folded batch."""

    def caption_of(self, start: np.ndarray) -> np.ndarray:
        """Return the caption of each place, int64."""
        return np.searchsorted(self.caption_start, start, side="right") - 1


_IS_WORD = np.zeros(256, np.bool_)
for _byte in b"abcdefghijklmnopqrstuvwxyz0123456789'-\x7f":
    _IS_WORD[_byte] = True


def tokenize(captions: Sequence[str]) -> Tokens:
    """Cut a batch of captions into words and gaps; a gap with a line end closes each caption."""
    joined = _END.join(captions)
    joined = joined.lower() if joined.isascii() else _END.join(map(fold, captions))
    data = (joined + _END).encode("ascii")
    lengths = np.fromiter(map(len, captions), np.int64, len(captions)) + 1
    caption_start = np.concatenate([[0], np.cumsum(lengths[:-1])])
    is_word = _IS_WORD[np.frombuffer(data, np.uint8)]
    start = np.flatnonzero(is_word[1:] != is_word[:-1]) + 1
    start = np.concatenate([[0], start])
    ends = np.append(start, len(data)).astype(np.int32)
    texts = pa.StringArray.from_buffers(len(start), pa.py_buffer(ends), pa.py_buffer(data))
    encoded = texts.dictionary_encode()
    return Tokens(
        segment=encoded.indices.to_numpy(zero_copy_only=False),
        start=start,
        segments=encoded.dictionary.to_pylist(),
        caption_start=caption_start,
        size=len(data),
    )

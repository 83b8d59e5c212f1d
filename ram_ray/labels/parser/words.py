"""What is known of each distinct word, worked out once and kept: the batch then indexes arrays."""

from dataclasses import dataclass, field

import numpy as np

from ram_ray.labels.lexicon import Lexicon
from ram_ray.labels.parser import speech
from ram_ray.labels.parser.function_words import (
    FUNCTION_WORDS,
)
from ram_ray.labels.parser.inflection import (
    Known,
)
from ram_ray.labels.parser.word_reading import Word, read_word

_SENTENCE_ENDS = set(".!?;:|\n")
_COMMAS = set(',()[]{}"/\\')
_JOINS = set("&+")


class WordTable:
    """Rows of `Word`, with the columns that rules need as arrays."""

    def __init__(self, lexicon: Lexicon, known: Known) -> None:
        self._lexicon = lexicon
        self._known = known
        self._row_of: dict[str, int] = {}
        self.words: list[Word] = []
        self._columns: Columns | None = None

    def rows_of(self, segments: list[str]) -> np.ndarray:
        """Return the row of each segment, int32; new ones are added."""
        row_of = self._row_of
        rows = [row_of.get(segment, -1) for segment in segments]
        for position, row in enumerate(rows):
            if row < 0:
                rows[position] = self.add(segments[position], self._read(segments[position]))
        return np.array(rows, np.int32)

    def add(self, key: str, word: Word) -> int:
        """Add a word under a key, unless it is there; return its row."""
        row = self._row_of.get(key)
        if row is None:
            row = self._row_of[key] = len(self.words)
            self.words.append(word)
            self._columns = None
        return row

    def columns(self) -> "Columns":
        """Return guess, features and cuts of all rows."""
        if self._columns is None:
            self._columns = Columns.of(self.words)
        return self._columns

    def _read(self, segment: str) -> Word:
        if not segment or not (segment[0].isalnum() or segment[0] in "'-\x7f"):
            return Word(segment, _gap(segment), 0)
        form = segment.lstrip("'-")
        cut_left = len(segment) - len(form)
        form = form.rstrip("'-")
        owners = not cut_left and segment.endswith("s'")
        owner = owners or (form.endswith("'s") and form not in FUNCTION_WORDS)
        form = form.removesuffix("'s") if owner else form
        cut_right = len(segment) - cut_left - len(form)
        if not form:
            return Word(segment, speech.COMMA, 0)
        word = read_word(form, self._lexicon, self._known)
        return Word(
            form,
            word.guess,
            word.features | (speech.OWNER if owner else 0),
            word.nouns,
            word.verbs,
            word.adjs,
            cut_left,
            cut_right,
        )


@dataclass(frozen=True, slots=True)
class Columns:
    """Columns of a `WordTable`."""

    guess: np.ndarray = field(repr=False)
    features: np.ndarray = field(repr=False)
    cut_left: np.ndarray = field(repr=False)
    cut_right: np.ndarray = field(repr=False)

    @classmethod
    def of(cls, words: list[Word]) -> "Columns":
        """Return the columns of some words."""
        return cls(
            np.array([word.guess for word in words], np.uint32),
            np.array([word.features for word in words], np.uint32),
            np.array([word.cut_left for word in words], np.int64),
            np.array([word.cut_right for word in words], np.int64),
        )


def _gap(segment: str) -> int:
    marks = set(segment)
    if marks & _SENTENCE_ENDS:
        return speech.BREAK
    if marks & _JOINS:
        return speech.CONJ
    return speech.COMMA if marks & _COMMAS else 0

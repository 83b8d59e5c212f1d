"""Words with two readings that the general rules get wrong, each settled by its neighbours.

The general rules of `speech` settle most homographs ("a watch", "people watch"); this table holds
those that they do not. A line: word, what stands before, what stands after, the reading.
"""

from collections.abc import Callable
from typing import NamedTuple

import numpy as np

from ram_ray.labels.parser.speech import (
    ADJ,
    ADV,
    BE,
    BREAK,
    COMMA,
    CONJ,
    DET,
    HAVE,
    MODAL,
    NOUN,
    NUM,
    POSS,
    PREP,
    PRON,
    REL,
    TO,
    VED,
    VERB,
    VING,
    Window,
)

ANY = (1 << 32) - 1
_END = BREAK | COMMA | CONJ | PREP | BE | VING | VED | VERB
_OPENS = DET | POSS | ADJ | NUM
_CLOSES = BREAK | COMMA | CONJ | PREP | VING | VED | VERB


class Homograph(NamedTuple):
    """One line of the table; `before` and `after` are parts of speech, any of which fits."""

    form: str
    before: int
    after: int
    reading: int


TABLE = (
    # Fruit, metal, flower beside a color.
    Homograph("orange", DET | NUM, (_END | ADV) & ~CONJ, NOUN),
    Homograph("olive", DET | NUM, (_END | ADV) & ~CONJ, NOUN),
    Homograph("lavender", PREP, _END, NOUN),
    Homograph("cream", NOUN | PREP | CONJ, _END, NOUN),
    Homograph("gold", PREP, _END, NOUN),
    Homograph("silver", PREP, _END, NOUN),
    # "a can of soda", "he can fly"
    Homograph("can", _OPENS | NOUN | PREP, _CLOSES, NOUN),
    Homograph("will", POSS, ANY, NOUN),
    # "people like", "a dog like this one"
    Homograph("like", TO | MODAL | PRON | REL, ANY, VERB),
    # "on his back", "a back yard", "looks back"
    Homograph("back", VERB | VING | VED, ANY, ADV),
    Homograph("left", BE | HAVE, ANY, VED),
    Homograph("left", DET | POSS, NOUN, ADJ),
    Homograph("right", DET | POSS, NOUN, ADJ),
    # "a close up", "close to"
    Homograph("close", ANY, TO | PREP, ADV),
    Homograph("close", DET, NOUN, ADJ),
    # "a saw", "saw a"; "a felt hat"
    Homograph("saw", _OPENS, _CLOSES, NOUN),
    Homograph("saw", NOUN | PRON, DET | POSS, VED),
    Homograph("felt", _OPENS | PREP, NOUN, ADJ),
    # "in fall", "in spring": seasons
    Homograph("fall", PREP | DET, BREAK | COMMA, NOUN),
    Homograph("spring", PREP | DET, BREAK | COMMA, NOUN),
    # "a rose", "sun rose"
    Homograph("rose", _OPENS, _END, NOUN),
    # "leaves": of a tree, unless somebody leaves something
    Homograph("leaves", PREP | ADJ | NUM | DET | BREAK | CONJ | VING, ANY, NOUN),
    Homograph("leaves", PRON | REL, ANY, VERB),
    # "turkey" on a plate; "china plate"
    Homograph("china", ANY, NOUN, ADJ),
    Homograph("cut", _OPENS | BREAK | COMMA | ADV, NOUN, VED),
    # "a second train", "an outside table", "a well"
    Homograph("well", DET | ADJ, _CLOSES, NOUN),
    Homograph("outside", DET, NOUN, ADJ),
    Homograph("inside", DET, NOUN, ADJ),
    # "in the open", "open door", "mouth open"
    Homograph("open", NOUN | ADV, ANY, ADJ),
    Homograph("bear", BE | MODAL | TO, DET | POSS, VERB),
    Homograph("fly", NOUN | PRON, DET | POSS | PREP | ADV | BREAK, VERB),
    Homograph("fly", DET, ANY, NOUN),
    Homograph("may", NOUN | PRON, VERB | BE, MODAL),
    Homograph("mine", DET | ADJ, ANY, NOUN),
    Homograph("lit", ANY, NOUN, ADJ),
    Homograph("wound", NOUN, ADV | PREP, VED),
)


class Homographs:
    """The table, ready for the rows of one word table."""

    def __init__(self, row_of: Callable[[str], int]) -> None:
        self._lines = [(row_of(line.form), line) for line in TABLE]
        self._rows = np.unique([row for row, _ in self._lines])

    def settle(self, window: Window, row: np.ndarray) -> np.ndarray:
        """Give tokens their reading; return which they are, so that no later rule changes them."""
        settled = np.zeros(len(row), np.bool_)
        candidates = np.flatnonzero(np.isin(row, self._rows))
        if not len(candidates):
            return settled
        rows = row[candidates]
        before, after = window.prev[candidates], window.next[candidates]
        for wanted, line in self._lines:
            fits = (rows == wanted) & ((before & line.before) != 0) & ((after & line.after) != 0)
            window.t[candidates[fits]] = line.reading
            settled[candidates[fits]] = True
        return settled

"""What a caption says is not there: "no people", "without a hat", "nobody is sitting".

Runs only at words of absence, of which real captions have few.
"""

from collections.abc import Sequence

import numpy as np

from ram_ray.labels.parser import speech
from ram_ray.labels.parser.word_reading import Word

BEFORE_NOUNS = frozenset("no without neither nor lacking minus sans zero".split())
"""The noun phrase after these is absent, and those joined to it by a comma, "and", "or"."""
NEGATIONS = frozenset(
    "not never isn't aren't wasn't weren't doesn't don't didn't can't cannot couldn't won't "
    "wouldn't hasn't haven't n't".split()
)
NOBODY = frozenset("nobody none no-one".split())
BEFORE_OF = frozenset("free devoid empty bare clear instead".split())
"""The noun phrase after these and "of" is absent: "free of cars"."""
SIGNS = frozenset("sign signs trace traces hint shortage lack".split())
"""After these and "of", too: "no sign of people"."""
TRIGGERS = BEFORE_NOUNS | NEGATIONS | NOBODY | BEFORE_OF | {
    "missing", "lacks", "lack", "rather",
}  # fmt: skip
BELIEVED = frozenset("only just yet your quite".split())
"""After "not", these deny nothing: "not only a dog", "not your average cupcake"."""

MAX_TOKENS = 24
"""How far a word of absence reaches at most: bounds the work on texts that are no captions."""

_IN_NOUN_PHRASE = speech.DET | speech.POSS | speech.ADJ | speech.NUM | speech.NOUN | speech.VED
_VERBAL = speech.VERB | speech.VING | speech.VED
_BEFORE_VERB = speech.BE | speech.HAVE | speech.MODAL | speech.ADV | speech.TO | speech.PRON


def absent_tokens(
    triggers: np.ndarray, row: np.ndarray, tags: np.ndarray, words: Sequence[Word]
) -> np.ndarray:
    """Return which tokens are said to be absent, bool [n].

    Args:
        triggers: indices of the tokens whose form is in TRIGGERS.
        row: int32 [n], the row of each token in `words`.
        tags: uint32 [n], parts of speech.
    """
    absent = np.zeros(len(row), np.bool_)
    reader = _Reader(row, tags, words)
    for at in triggers.tolist():
        absent[reader.scope(at)] = True
    return absent


class _Reader:
    """Looks around one word of absence at a time."""

    def __init__(self, row: np.ndarray, tags: np.ndarray, words: Sequence[Word]) -> None:
        self._row = row
        self._tags = tags
        self._words = words

    def scope(self, at: int) -> list[int]:
        """Return the tokens that the word at `at` says are absent."""
        form = self._form(at)
        if form in BEFORE_OF or form == "rather":
            return self._nouns(at + 2) if self._form(at + 1) in ("of", "than") else []
        if form in ("missing", "lacks", "lack"):
            return self._nouns(at + 1 + (self._form(at + 1) == "of")) or self._before(at)
        if form in NOBODY:
            of_them = 2 if self._form(at + 1) == "of" else 0
            return self._verbs(at + 1 + of_them)
        if form == "no":
            return self._after_no(at)
        if form in BEFORE_NOUNS:
            if self._is(at + 1, speech.VING):  # "without looking at his sister"
                return [at + 1, *self._nouns(at + 2 + self._is(at + 2, speech.PREP))]
            return self._nouns(at + 1)
        return self._after_not(at)

    def _after_no(self, at: int) -> list[int]:
        if self._form(at + 1) in ("one", "longer", "matter"):
            return self._verbs(at + 2)
        if self._form(at + 1).endswith("ing"):  # "no smoking sign": there is a sign
            return [at + 1]
        if self._is(at - 1, speech.DET):  # "a no entry sign"
            return []
        nouns = self._nouns(at + 1)
        if nouns and self._form(nouns[-1]) in SIGNS and self._form(nouns[-1] + 1) == "of":
            return self._nouns(nouns[-1] + 2)
        return nouns + (self._verbs(nouns[-1] + 1) if nouns else [])

    def _after_not(self, at: int) -> list[int]:
        if self._form(at + 1) in BELIEVED:
            return []
        verbs = self._verbs(at + 1)
        if verbs:
            return [*verbs, *self._nouns(verbs[-1] + 1)]
        end = at + MAX_TOKENS
        while at < end and self._is(at + 1, _BEFORE_VERB):  # "does not have a hat"
            at += 1
        return self._nouns(at + 1 + self._is(at + 1, speech.PREP))

    def _before(self, at: int) -> list[int]:
        """Return the noun that "missing" follows: "a shoe with its lace missing"."""
        ends = self._is(at + 1, speech.BREAK | speech.COMMA) or at + 1 == len(self._row)
        return [at - 1] if ends and self._is(at - 1, speech.NOUN) else []

    def _nouns(self, at: int) -> list[int]:
        """Return the nouns of the noun phrase at `at` and of those joined to it."""
        found: list[int] = []
        end = at + MAX_TOKENS
        while True:
            before = len(found)
            while at < end and self._is(at, _IN_NOUN_PHRASE):
                if self._is(at, speech.NOUN):
                    found.append(at)
                at += 1
            joined = self._is(at, speech.CONJ | speech.COMMA)
            # "no cars or people", "no hat or a scarf", but "no hat, a dog"
            either = self._form(at) in ("or", "nor")
            goes_on = self._is(at + 1, _IN_NOUN_PHRASE if either else speech.NOUN | speech.CONJ)
            if len(found) == before or not (joined and goes_on):
                return found
            at += 1 + self._is(at + 1, speech.CONJ)

    def _verbs(self, at: int) -> list[int]:
        """Return the verb that comes next, past auxiliaries and adverbs."""
        end = at + MAX_TOKENS
        while at < end and self._is(at, _BEFORE_VERB):
            at += 1
        return [at] if self._is(at, _VERBAL) else []

    def _form(self, at: int) -> str:
        return self._words[self._row[at]].form if 0 <= at < len(self._row) else ""

    def _is(self, at: int, tags: int) -> bool:
        return 0 <= at < len(self._tags) and bool(self._tags[at] & tags)

"""What a caption says is not there: "no people", "without a hat", "nobody is sitting".

Runs only on captions that hold a word of absence, which few real ones do.
"""

from collections.abc import Sequence

import numpy as np

from ram_ray.labels.parser import speech
from ram_ray.labels.parser.words import Word

BEFORE_NOUNS = frozenset("no without neither nor lacking minus sans zero".split())
"""The noun phrase after these is absent, and those joined to it by a comma, "and", "or"."""
NEGATIONS = frozenset(
    "not never isn't aren't wasn't weren't doesn't don't didn't can't cannot couldn't won't "
    "wouldn't hasn't haven't n't".split()
)
NOBODY = frozenset("nobody none no-one".split())
TRIGGERS = BEFORE_NOUNS | NEGATIONS | NOBODY | {"free", "missing", "instead", "rather"}
BELIEVED = frozenset("only just yet your quite".split())
"""After "not", these deny nothing: "not only a dog", "not your average cupcake"."""
_ENDS = speech.BREAK


def absent_tokens(row: np.ndarray, tags: np.ndarray, words: Sequence[Word]) -> np.ndarray:
    """Return which tokens are said to be absent, bool [n]."""
    absent = np.zeros(len(row), np.bool_)
    distinct = np.unique(row)
    rows = [index for index in distinct.tolist() if words[index].form in TRIGGERS]
    if not rows:
        return absent
    for position in np.flatnonzero(np.isin(row, rows)).tolist():
        form = words[row[position]].form
        for token in _scope(form, position, row, tags, words):
            absent[token] = True
    return absent


def _scope(
    form: str, at: int, row: np.ndarray, tags: np.ndarray, words: Sequence[Word]
) -> list[int]:
    def word(position: int) -> str:
        return words[row[position]].form if 0 <= position < len(row) else ""

    def tag(position: int) -> int:
        return int(tags[position]) if 0 <= position < len(tags) else speech.BREAK

    if form == "free":
        return _nouns(at + 2, tag) if word(at + 1) == "of" else []
    if form == "missing":
        return _nouns(at + 1, tag) if tag(at + 1) & (speech.DET | speech.POSS | speech.NOUN) else []
    if form in ("instead", "rather"):
        return _nouns(at + 2, tag) if word(at + 1) in ("of", "than") else []
    if form in NOBODY:
        return _verbs(at + 1, tag)
    if form in BEFORE_NOUNS:
        if word(at + 1) in ("one", "longer", "matter"):
            return _verbs(at + 2, tag)
        found = _nouns(at + 1, tag)
        if form == "without" and tag(at + 1) & speech.VING:
            return [at + 1, *_nouns(at + 2, tag)]
        return found + (_verbs(found[-1] + 1, tag) if found and form == "no" else [])
    if word(at + 1) in BELIEVED:
        return []
    verbs = _verbs(at + 1, tag)
    if verbs:
        return [*verbs, *_nouns(verbs[-1] + 1, tag)]
    if tag(at + 1) & (speech.DET | speech.NOUN | speech.PREP | speech.POSS):
        return _nouns(at + 1 + bool(tag(at + 1) & speech.PREP), tag)
    return []


def _nouns(at: int, tag: object) -> list[int]:
    """Return the noun tokens of the noun phrase at `at` and of those joined to it."""
    get = tag  # a function of a position
    found: list[int] = []
    inside = speech.DET | speech.POSS | speech.ADJ | speech.NUM | speech.NOUN | speech.VED
    while True:
        start = len(found)
        while get(at) & inside:  # pyright: ignore
            if get(at) & speech.NOUN:  # pyright: ignore
                found.append(at)
            at += 1
        if len(found) == start:
            return found
        if get(at) & (speech.CONJ | speech.COMMA) and _goes_on(at + 1, get):
            at += 1
            continue
        return found


def _goes_on(at: int, get: object) -> bool:
    """Tell whether another bare noun phrase follows: "no cars or people", not "no hat, a dog"."""
    return bool(get(at) & (speech.NOUN | speech.CONJ))  # pyright: ignore


def _verbs(at: int, tag: object) -> list[int]:
    """Return the verb right after `at`, past auxiliaries and adverbs."""
    get = tag
    while get(at) & (speech.BE | speech.HAVE | speech.MODAL | speech.ADV | speech.TO | speech.PRON):  # pyright: ignore
        at += 1
    return [at] if get(at) & (speech.VERB | speech.VING | speech.VED) else []  # pyright: ignore

"""Words that nobody knows, one slip away from a word that everybody does: "tabel", "beautifull"."""

import re
from collections.abc import Callable, Iterator

from ram_ray.labels.lexicon import COMMON, Lexicon

MIN_LETTERS, MAX_LETTERS = 5, 24
"""Shorter words have too many neighbours; longer ones are no words."""
_DOUBLE = re.compile(r"(.)\1")
_LETTERS = "abcdefghijklmnopqrstuvwxyz"


def correct(word: str, lexicon: Lexicon, known: Callable[[str], bool]) -> str | None:
    """Return the likeliest word one slip away from an unknown word; None where there is none.

    Corrections are names of the vocabulary and common words.
    """
    if not MIN_LETTERS <= len(word) <= MAX_LETTERS or not word.isalpha():
        return None
    common = lexicon.common
    found: dict[str, int] = {}
    for candidates in (_one_slip_away(word), _doubled_otherwise(word)):
        if not found:
            found = {
                candidate: common.get(candidate, COMMON)
                for candidate in candidates
                if candidate in common or known(candidate)
            }
    # The first letter is seldom wrong.
    return max(found, key=lambda other: (other[0] == word[0], found[other], other), default=None)


def _doubled_otherwise(word: str) -> Iterator[str]:
    """Yield the word with at most two double letters, wherever they are: "brocolli"."""
    single = _DOUBLE.sub(r"\1", word)
    yield single
    for one in range(len(single)):
        with_one = single[: one + 1] + single[one:]
        yield with_one
        for two in range(one + 2, len(with_one)):
            yield with_one[: two + 1] + with_one[two:]


def _one_slip_away(word: str) -> Iterator[str]:
    for at in range(len(word)):
        yield word[:at] + word[at + 1 :]
        if at + 1 < len(word):
            yield word[:at] + word[at + 1] + word[at] + word[at + 2 :]
        for letter in _LETTERS:
            yield word[:at] + letter + word[at + 1 :]
            yield word[:at] + letter + word[at:]
    for letter in _LETTERS:
        yield word + letter

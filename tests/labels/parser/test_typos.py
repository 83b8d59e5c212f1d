"""Corrections of words that nobody knows."""

import pytest

from ram_ray.labels.lexicon import load_lexicon
from ram_ray.labels.parser.typos import correct

LEXICON = load_lexicon()


@pytest.mark.parametrize(
    ("word", "meant"),
    [("tabel", "table"), ("beautifull", "beautiful"), ("brige", "bridge"), ("windoww", "window")],
)
def test_one_slip_is_undone(word: str, meant: str) -> None:
    assert correct(word, LEXICON, lambda _: False) == meant


@pytest.mark.parametrize(
    ("word", "meant"), [("girrafe", "giraffe"), ("brocolli", "broccoli"), ("balloon", "balloon")]
)
def test_double_letters_may_be_elsewhere(word: str, meant: str) -> None:
    assert correct(word, LEXICON, {"giraffe", "broccoli", "balloon"}.__contains__) == meant


def test_names_of_the_vocabulary_are_corrections() -> None:
    assert correct("cockapo", LEXICON, {"cockapoo"}.__contains__) == "cockapoo"


@pytest.mark.parametrize("word", ["dgo", "xqzvw", "b0ttle9x"])
def test_short_and_strange_words_are_left_alone(word: str) -> None:
    assert correct(word, LEXICON, lambda _: False) is None

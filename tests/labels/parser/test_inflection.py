"""Forms to lemmas, regular, irregular and unheard of."""

import pytest

from ram_ray.labels.lexicon import load_lexicon
from ram_ray.labels.parser.inflection import (
    adj_lemmas,
    is_plural,
    noun_lemmas,
    plural,
    spellings,
    verb_lemmas,
)

LEXICON = load_lexicon()


@pytest.mark.parametrize(
    ("form", "lemma"),
    [
        ("dogs", "dog"),
        ("men", "man"),
        ("children", "child"),
        ("mice", "mouse"),
        ("knives", "knife"),
        ("wolves", "wolf"),
        ("buses", "bus"),
        ("glass", "glass"),
        ("bus", "bus"),
        ("people", "people"),
        ("jeans", "jeans"),
        ("sunglasses", "sunglasses"),
        ("cookies", "cookie"),
        ("puppies", "puppy"),
        ("cockapoos", "cockapoo"),
        ("sheep", "sheep"),
    ],
)
def test_noun_form_has_this_first_lemma(form: str, lemma: str) -> None:
    assert noun_lemmas(form, LEXICON)[0] == lemma


def test_singular_of_a_plural_name_comes_second() -> None:
    assert noun_lemmas("glasses", LEXICON)[:2] == ["glasses", "glass"]


def test_vocabulary_name_unknown_to_the_lexicon_is_a_lemma() -> None:
    assert noun_lemmas("zorbs", LEXICON, {"zorb"}.__contains__)[0] == "zorb"


@pytest.mark.parametrize(
    ("form", "lemma"),
    [
        ("running", "run"),
        ("lying", "lie"),
        ("tying", "tie"),
        ("rode", "ride"),
        ("skis", "ski"),
        ("staring", "stare"),
        ("hopping", "hop"),
        ("dancing", "dance"),
        ("carried", "carry"),
        ("travelling", "travel"),
        ("falling", "fall"),
        ("passes", "pass"),
        ("jumpes", "jump"),
        ("held", "hold"),
    ],
)
def test_verb_form_has_this_first_lemma(form: str, lemma: str) -> None:
    assert verb_lemmas(form, LEXICON)[0] == lemma


def test_noun_is_no_verb_form() -> None:
    assert verb_lemmas("kitchen", LEXICON) == []


@pytest.mark.parametrize(
    ("form", "lemma"),
    [("older", "old"), ("largest", "large"), ("happier", "happy"), ("better", "good")],
)
def test_comparative_has_its_base(form: str, lemma: str) -> None:
    assert adj_lemmas(form, LEXICON)[0] == lemma


@pytest.mark.parametrize(
    ("one", "other"), [("grey", "gray"), ("colour", "color"), ("tyre", "tire"), ("gray", "grey")]
)
def test_spelling_crosses_the_atlantic(one: str, other: str) -> None:
    assert other in spellings(one)


def test_plural_is_undone_by_the_lemma() -> None:
    for noun in ("dog", "box", "bush", "puppy", "toy", "bench"):
        assert noun_lemmas(plural(noun), LEXICON)[0] == noun
        assert is_plural(plural(noun), LEXICON)

import pytest

from ram_ray.labels.builder.names import clean, fold, gerund, infinitive, joined, singular
from ram_ray.labels.lexicon import load_lexicon


@pytest.mark.parametrize(
    ("raw", "text", "qualifier"),
    [
        ("  bat_(animal) ", "bat", "animal"),
        ("kite (bird of prey)", "kite", "bird of prey"),
        ("T\u2011shirt".replace("\u2011", "\u2010"), "T-shirt", ""),
        ("jack\u2019s", "jack's", ""),
        ("\uff24og", "Dog", ""),
    ],
)
def test_clean_takes_list_spelling_away(raw: str, text: str, qualifier: str) -> None:
    assert clean(raw) == (text, qualifier)


def test_folding_and_joining() -> None:
    assert fold("T-Shirt  of Jack's") == "t shirt of jacks"
    assert joined("sail-boat") == joined("Sail boat") == "sailboat"


@pytest.mark.parametrize(
    ("plural", "expected"),
    [
        ("giraffes", "giraffe"),
        ("men", "man"),
        ("fire trucks", "fire truck"),
        ("slices of pizza", "slice of pizza"),
        ("shorts", "shorts"),
        ("sunglasses", "sunglasses"),
        ("khaki pants", "khaki pants"),
        ("tails", "tail"),
        ("dress", "dress"),
        ("zorbs", "zorb"),
    ],
)
def test_the_head_is_put_in_the_singular(plural: str, expected: str) -> None:
    assert singular(plural, load_lexicon()) == expected


@pytest.mark.parametrize(
    ("form", "verb"), [("sitting on", "sit on"), ("ran", "run"), ("lying", "lie"), ("zzz", "zzz")]
)
def test_infinitives(form: str, verb: str) -> None:
    assert infinitive(form, load_lexicon()) == verb


@pytest.mark.parametrize(
    ("verb", "form"),
    [("ride", "riding"), ("sit on", "sitting on"), ("lie", "lying"), ("see", "seeing"),
     ("ski", "skiing"), ("eat", "eating"), ("play", "playing"), ("open", "opening")],
)  # fmt: skip
def test_gerunds(verb: str, form: str) -> None:
    assert gerund(verb, load_lexicon()) == form

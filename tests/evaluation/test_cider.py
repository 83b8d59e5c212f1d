"""CIDEr against values worked out by hand."""

import math

import pytest

from ram_ray.evaluation.cider import Cider, split_words


def test_words_are_lower_case_without_marks() -> None:
    assert split_words("A dog's ball, red .") == ["a", "dog", "s", "ball", "red"]


@pytest.mark.parametrize("robust", [True, False])
def test_what_the_only_reference_says_scores_ten(robust: bool) -> None:
    references = [["a dog runs fast"], ["two birds sit there"]]
    scores = Cider(references, robust=robust).score(["a dog runs fast", "birds"])
    assert scores[0] == pytest.approx(10)
    # one of two birds' words: of n-grams of one word only, whose cosine is 1 / 2 (four words)
    penalty = math.exp(-(3**2) / 72) if robust else 1
    assert scores[1] == pytest.approx(10 / 4 * 0.5 * penalty)


def test_words_said_of_every_image_weigh_nothing() -> None:
    metric = Cider([["a dog"], ["a cat"]])
    # "a" has weight log(2 / 2) = 0, "dog" and "a dog" have log 2; two of the four lengths exist
    assert metric.score_one(0, "a dog") == pytest.approx(10 * 2 / 4)
    assert metric.score_one(0, "a") == 0


def test_repeating_pays_in_cider_only() -> None:
    references = [["dog cat"], ["bird sky"]]
    # vector (3, 1) log 2 against (1, 1) log 2; clipped to (1, 1); no pair of words is shared
    # but "dog cat"; "dog dog" and "dog cat" have the weights 2 and 1
    text = "dog dog dog cat"
    one, two = 4 / math.sqrt(10 * 2), 1 / math.sqrt(5)
    clipped = 2 / math.sqrt(10 * 2)
    assert Cider(references, robust=False).score_one(0, text) == pytest.approx(2.5 * (one + two))
    penalty = math.exp(-(2**2) / 72)
    robust = Cider(references).score_one(0, text)
    assert robust == pytest.approx(2.5 * penalty * (clipped + two))


def test_several_references_are_averaged() -> None:
    metric = Cider([["red car", "blue sea"], ["green tree"]])
    assert metric.score_one(0, "red car") == pytest.approx(10 * 2 / 4 / 2)


def test_wrong_numbers_are_refused() -> None:
    with pytest.raises(ValueError, match="at least one caption"):
        Cider([["a"], []])
    with pytest.raises(ValueError, match="captions holds 1, but must hold 2"):
        Cider([["a"], ["b"]]).score(["a"])

"""The limits report on made images whose figures follow from how they were made."""

import numpy as np
import pytest

from ram_ray.evaluation.limits import LimitsInput, measure_limits
from ram_ray.evaluation.limits_page import limits_section

N = 400


def made(names: list[str], columns: list[np.ndarray], scores: list[np.ndarray]) -> LimitsInput:
    kinds = tuple("action" if name == "cooking" else "object" for name in names)
    labels = np.stack(columns, axis=1).astype(np.int8)
    return LimitsInput(
        labels=labels, scores=np.stack(scores, axis=1).astype(float), names=(*names,), kinds=kinds
    )


def test_a_number_word_is_compared_with_its_frequency() -> None:
    truth = np.arange(N) % 4 == 0
    (number,) = measure_limits(made(["two", "dog"], [truth] * 2, [truth] * 2))["numbers"]
    assert number["name"] == "two"
    assert number["average_precision"] == 1.0
    assert number["prior"] == 0.25


@pytest.mark.parametrize(("sign", "expected"), [(1, 1.0), (0, 0.5), (-1, 0.0)])
def test_siblings_are_told_apart_always_by_chance_and_never(sign: int, expected: float) -> None:
    dog = np.arange(N) < 300  # the frequent one must not decide alone
    # "dog" always scores higher: only the lean can tell
    scores = [0.9 + 0.05 * sign * dog, 0.1 + 0.05 * sign * ~dog]
    given = made(["dog", "cat"], [dog, ~dog], scores)
    siblings = measure_limits(given, num_draws=5)["siblings"]
    assert siblings["told_apart"] == expected
    assert siblings["pairs"][0]["images"] == N


def test_an_image_of_both_or_of_an_unknown_decides_nothing() -> None:
    dog, cat = np.ones(N, dtype=int), np.zeros(N, dtype=int)
    cat[:200], cat[200:390] = 1, -1  # ten images are decided, all of them dogs
    given = made(["dog", "cat"], [dog, cat], [dog, cat])
    assert measure_limits(given, num_draws=2)["siblings"] == {"pairs": []}


def biased(share_predicted: float) -> LimitsInput:
    """Return 100 images of cooking, 70 of them of women, and as the model sees it."""
    row = np.arange(N)
    cooking = row < 100
    woman = (row < 70) | (row >= 250)
    women_seen = round(share_predicted * 100)
    seen = np.where(cooking, row < women_seen, row >= 180 + women_seen)
    columns = [cooking, ~woman, woman]
    return made(["cooking", "man", "woman"], columns, [cooking, 1.0 - seen, seen.astype(float)])


@pytest.mark.parametrize(("predicted", "expected"), [(0.7, 0.0), (0.9, 0.2), (0.5, -0.2)])
def test_bias_amplification_is_what_was_put_in(predicted: float, expected: float) -> None:
    bias = measure_limits(biased(predicted), num_draws=20)["bias"]
    assert bias["activities"][0]["labels"] == 0.7
    assert bias["amplification"] == pytest.approx(expected, abs=0.005)
    low, high = bias["interval"]
    assert low <= bias["amplification"] <= high


def test_page_says_what_is_missing_and_escapes_names() -> None:
    truth = np.arange(N) % 2
    empty = limits_section(measure_limits(made(["dog"], [truth], [truth]), num_draws=2))
    assert "share no number word" in empty
    assert "no two of them" in empty
    assert "too few images" in empty
    page = limits_section(
        {
            "numbers": [
                {"name": "<two>", "positives": 3, "average_precision": 0.5}
                | {"interval": None, "prior": 0.1}
            ],
            "siblings": {"pairs": []},
            "bias": {"activities": []},
        }
    )
    assert "&lt;two&gt;" in page

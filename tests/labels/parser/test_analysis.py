"""What a caption holds: heads, modifiers, verbs, and what is not there."""

import pytest

from ram_ray.labels.parser.analysis import Analyzer

ROLES = {0: "noun", 1: "attribute", 2: "verb"}
ANALYZER = Analyzer()


def read(caption: str, role: str, *, absent: bool = False) -> list[str]:
    """Return the caption's own words that were read in a role."""
    mentions = ANALYZER.analyze([caption])
    return [
        caption[start:end]
        for start, end, found, is_absent in zip(
            mentions.start, mentions.end, mentions.role, mentions.absent, strict=True
        )
        if ROLES.get(int(found)) == role and is_absent == absent
    ]


def test_heads_modifiers_and_verbs() -> None:
    caption = "Two brown dogs sleep on a blue sofa ."
    assert read(caption, "noun") == ["dogs", "sofa"]
    assert read(caption, "attribute") == ["brown", "blue"]
    assert read(caption, "verb") == ["sleep"]


@pytest.mark.parametrize(
    ("caption", "verbs"),
    [
        ("A dog runs", ["runs"]),
        ("A man rides a wave on a surfboard .", ["rides"]),
        ("Two men ride horses .", ["ride"]),
        ("A girl in red jumps across a path .", ["jumps"]),
        ("A child who plays with a ball", ["plays"]),
        ("A boy quickly climbs a tree", ["climbs"]),
        ("A woman sits and looks at the sea", ["sits", "looks"]),
        ("A dog jumps to catch a frisbee", ["jumps", "catch"]),
        ("A car parked near a wall", ["parked"]),
        ("The watch on his wrist", []),
        ("A bike ride through the park", []),
        ("A ski run between trees", []),
    ],
)
def test_verbs_are_told_from_nouns(caption: str, verbs: list[str]) -> None:
    assert read(caption, "verb") == verbs


@pytest.mark.parametrize(
    ("caption", "nouns"),
    [
        ("hot dogs on a plate", ["hot dogs", "plate"]),
        ("a fire truck at a bus stop", ["fire truck", "bus stop"]),
        ("an orange cat beside an orange", ["cat", "orange"]),
        ("people in front of a tall building", ["people", "building"]),
        ("a picture of a cat", ["cat"]),
        ("a group of children", ["children"]),
        ("the girl's hair", ["girl's"[:-2], "hair"]),
        ("a surf board on a side walk", ["surf board", "side walk"]),
        ("a man building a wall", ["man", "wall"]),
    ],
)
def test_heads_are_things(caption: str, nouns: list[str]) -> None:
    assert read(caption, "noun") == nouns


@pytest.mark.parametrize(
    ("caption", "attributes"),
    [
        ("parked cars in a street", ["parked"]),
        ("a brick wall", ["brick"]),
        ("an orange and white cat", ["orange", "white"]),
        ("the bear is brown", ["brown"]),
    ],
)
def test_modifiers_are_attributes(caption: str, attributes: list[str]) -> None:
    assert read(caption, "attribute") == attributes


@pytest.mark.parametrize(
    ("caption", "absent"),
    [
        ("an empty street with no people", ["people"]),
        ("a street with no cars or people", ["cars", "people"]),
        ("a man without a hat and a dog", ["hat"]),
        ("a man not wearing a shirt", ["shirt"]),
        ("a street free of cars", ["cars"]),
        ("a dog, not a cat, on a mat", ["cat"]),
        ("a field devoid of trees", ["trees"]),
        ("a dog that does not have a collar", ["collar"]),
        ("a boy without a hat or a coat", ["hat", "coat"]),
        ("a beach with no sign of people", ["people"]),
        ("a bike with one wheel missing", ["wheel"]),
        ("a chair missing a leg", ["leg"]),
        ("neither a cat nor a dog", ["cat", "dog"]),
        ("not only a dog", []),
        ("a no parking sign", []),
    ],
)
def test_what_is_not_there_is_marked(caption: str, absent: list[str]) -> None:
    assert read(caption, "noun", absent=True) == absent


def test_batches_and_single_captions_agree() -> None:
    captions = ["A dog runs", "no people", "two cats sit on a hot", "dog"]
    together = ANALYZER.analyze(captions)
    alone = [ANALYZER.analyze([caption]) for caption in captions]
    assert together.word.tolist() == [row for found in alone for row in found.word.tolist()]
    assert together.start.tolist() == [start for found in alone for start in found.start.tolist()]


@pytest.mark.timeout(60)
def test_long_nonsense_takes_no_longer_than_long_captions() -> None:
    captions = ["a" * 100_000, "no " * 30_000, "not " * 20_000, "- " * 50_000, "x-" * 50_000]
    assert ANALYZER.analyze(captions).caption.max(initial=0) < len(captions)


def test_odd_captions_are_read_without_complaint() -> None:
    captions = ["", " ", "\x00", "!!!", "dog " * 25_000, "\U0001f436" * 9, "\u72ac", "-", "'s"]
    mentions = ANALYZER.analyze(captions)
    assert set(mentions.caption.tolist()) == {4}

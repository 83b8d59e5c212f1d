from collections import Counter

import pytest

from ram_ray.labels.builder.relations import kind_of, parents_of
from ram_ray.labels.lexicon import load_lexicon


def parents(*names: str, stated: dict[str, set[str]] | None = None) -> dict[str, list[str]]:
    """Return the names above each name, by the first sense of each."""
    lexicon = load_lexicon()
    senses = [next(iter(lexicon.senses(name)), None) for name in names]
    rows = parents_of(senses, names, [(stated or {}).get(name, set()) for name in names], lexicon)
    return {
        name: [names[row] for row in above]
        for name, above in zip(names, rows, strict=True)
        if above
    }


def test_only_the_nearest_tags_stand_above() -> None:
    assert parents("animal", "dog", "poodle", "artifact", "chair") == {
        "dog": ["animal"],
        "poodle": ["dog"],
    }  # a chair is an artifact, which is too wide to tell anything


def test_a_compound_nobody_knows_stands_under_its_last_word() -> None:
    assert parents("pizza", "cheese pizza") == {"cheese pizza": ["pizza"]}
    assert parents("dog", "hot dog") == {}


def test_people_are_persons_and_glasses_no_glass() -> None:
    found = parents("person", "people", "man", "glass", "glasses")
    assert found == {"people": ["person"], "man": ["person"]}


def test_what_lists_state_counts_but_no_circle() -> None:
    stated = {"zorb": {"glomp"}, "glomp": {"frob"}, "frob": {"zorb"}}
    assert parents("zorb", "glomp", "frob", stated=stated) == {"zorb": ["glomp"], "glomp": ["frob"]}


@pytest.mark.parametrize(
    ("noun", "votes", "kind"),
    [
        ("beach", {}, "scene"),
        ("kitchen", {}, "scene"),
        ("dog", {}, "object"),
        ("dog", {"scene": 1}, "scene"),
        ("beach", {"object": 1}, "scene"),
        ("beach", {"object": 2}, "object"),
        ("zorb", {}, "object"),
    ],
)
def test_object_or_scene(noun: str, votes: dict[str, int], kind: str) -> None:
    lexicon = load_lexicon()
    sense = next(iter(lexicon.senses(noun)), None)
    assert kind_of("noun", Counter(votes), sense, lexicon) == kind

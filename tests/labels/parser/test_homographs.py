"""Words with two readings, in context."""

import pytest

from ram_ray.labels.parser.analysis import Analyzer
from ram_ray.labels.parser.homographs import TABLE

ANALYZER = Analyzer()
ROLES = {0: "noun", 1: "attribute", 2: "verb"}


def reading(caption: str, word: str) -> list[str]:
    """Return the roles in which a word of the caption was read, in order."""
    mentions = ANALYZER.analyze([caption])
    found = zip(mentions.start, mentions.end, mentions.role, strict=True)
    return [
        ROLES.get(int(role), "before a head")
        for start, end, role in found
        if caption[start:end].lower() == word
    ]


@pytest.mark.parametrize(
    ("caption", "word", "roles"),
    [
        ("an orange on a plate", "orange", ["noun"]),
        ("an orange cat", "orange", ["attribute"]),
        ("a cat that is orange", "orange", ["attribute"]),
        ("a can of soda", "can", ["noun"]),
        ("a bird that can fly", "can", []),
        ("a bird that can fly", "fly", ["verb"]),
        ("a fly on a wall", "fly", ["noun"]),
        ("a man saw a bird", "saw", ["verb"]),
        ("a saw on a bench", "saw", ["noun"]),
        ("trees in fall", "fall", ["noun"]),
        ("two boys fall off a horse", "fall", ["verb"]),
        ("a red rose", "rose", ["noun"]),
        ("leaves on the ground", "leaves", ["noun"]),
        ("a man who leaves the room", "leaves", ["verb"]),
        ("a dog with its mouth open", "open", ["attribute"]),
        ("a park with trees", "park", ["noun"]),
        ("cars parked in a row", "parked", ["verb"]),
        ("a bear in a river", "bear", ["noun"]),
        ("people watch a game", "watch", ["verb"]),
        ("a gold watch", "watch", ["noun"]),
        ("two men train a dog", "train", ["verb"]),
        ("a train at a station", "train", ["noun"]),
        ("a light on a wall", "light", ["noun"]),
        ("a light brown dog", "light", ["attribute"]),
        ("a duck in a pond", "duck", ["noun"]),
        ("a kite in the sky", "kite", ["noun"]),
        ("a man in a tie", "tie", ["noun"]),
        ("a woman ties a ribbon", "ties", ["verb"]),
        ("a girl with glasses", "glasses", ["noun"]),
        ("a stone house", "stone", ["attribute"]),
    ],
)
def test_context_settles_the_reading(caption: str, word: str, roles: list[str]) -> None:
    assert reading(caption, word) == roles


def test_every_line_of_the_table_names_something_to_look_at() -> None:
    for line in TABLE:
        assert line.form.isalpha()
        assert line.before
        assert line.after
        assert line.reading.bit_count() == 1

"""What several captions of one image settle together."""

import numpy as np

from ram_model.vocabulary import Vocabulary
from ram_ray.labels.parser.caption_parser import CaptionParser

NAMES = (
    "dining table", "bear", "teddy bear", "bicycle", "motorcycle", "baseball glove",
    "baseball bat", "person",
)  # fmt: skip
PARSER = CaptionParser(
    Vocabulary(
        names=NAMES,
        thresholds=np.full(len(NAMES), 0.5, np.float32),
        kinds=("object",) * len(NAMES),
    ),
    widen=True,
)


def tags(*captions: str) -> set[str]:
    """Return the tags of captions of one image."""
    found = PARSER.parse(captions, [7] * len(captions))["tags"].to_pylist()
    return {tag for row in found for tag in row}


def test_an_unsure_tag_needs_a_second_caption_where_there_are_three() -> None:
    assert tags("a table", "a room", "a window") == set()
    assert tags("a table", "a room with a table", "a window") == {"dining table"}
    assert tags("a table", "a room") == {"dining table"}


def test_a_table_beside_food_needs_no_second_caption() -> None:
    assert tags("a table", "a room", "bread and soup") == {"dining table"}


def test_a_sure_tag_needs_none() -> None:
    assert tags("a bicycle", "a room", "a window") == {"bicycle"}


def test_equipment_of_a_sport_needs_most_captions() -> None:
    glove = {"baseball glove", "baseball bat"}
    assert tags("baseball", "a game of baseball", "baseball at night", "a field") >= glove
    assert not tags("baseball", "a game of baseball", "a field", "a lawn") & glove


def test_a_bear_is_the_teddy_bear_of_another_caption() -> None:
    assert tags("a bear on a bed", "a teddy bear") == {"teddy bear"}
    assert tags("a bear in a river", "a forest") == {"bear"}


def test_a_bike_is_the_motorcycle_of_another_caption() -> None:
    assert tags("a bike", "a road") == {"bicycle"}
    assert tags("a bike", "a motorcycle") == {"motorcycle"}


def test_images_do_not_mix() -> None:
    captions = ["a bear on a bed", "a teddy bear"]
    assert PARSER.parse(captions, [1, 2])["tags"].to_pylist() == [["bear"], ["teddy bear"]]
    assert PARSER.parse(captions)["tags"].to_pylist() == [["bear"], ["teddy bear"]]

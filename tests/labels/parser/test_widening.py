"""Tags of a vocabulary that is coarser than the captions."""

import numpy as np
import pytest

from ram_model.vocabulary import Vocabulary
from ram_ray.labels.parser.caption_parser import CaptionParser

NAMES = ("clock", "book", "car", "cat", "sheep", "horse", "cow", "tennis racket")


def parser(*names: str) -> CaptionParser:
    vocabulary = Vocabulary(
        names=names, thresholds=np.full(len(names), 0.5, np.float32), kinds=("object",) * len(names)
    )
    return CaptionParser(vocabulary, widen=True)


@pytest.mark.parametrize(
    ("caption", "tag", "rule"),
    [
        ("a clock tower", "clock", "modifier"),
        ("a clocktower", "clock", "modifier"),
        ("a bookshelf", "book", "modifier"),
        ("a car door", "car", "modifier"),
        ("a kitten", "cat", "wider"),
        ("three lambs", "sheep", "wider"),
        ("a foal", "horse", "wider"),
        ("a bull", "cow", "wider"),
        ("a game of tennis", "tennis racket", "implied"),
        ("a tennis match", "tennis racket", "implied"),
    ],
)
def test_a_word_speaks_of_a_tag(caption: str, tag: str, rule: str) -> None:
    row = parser(*NAMES).parse_with_evidence([caption]).to_pylist()[0]
    assert (row["tags"], row["rules"]) == ([tag], [rule])


@pytest.mark.parametrize("caption", ["a carpet", "a train car", "a tower"])
def test_others_do_not(caption: str) -> None:
    assert parser(*NAMES).parse([caption])["tags"].to_pylist() == [[]]


def test_a_vocabulary_with_all_things_of_a_sport_tells_them_apart() -> None:
    things = ("tennis racket", "tennis ball", "tennis court", "net")
    assert parser(*things).parse(["tennis"])["tags"].to_pylist() == [[]]

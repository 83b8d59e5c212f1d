"""Captions to the tags of a vocabulary, with the reason of each."""

import numpy as np
import pytest

from ram_model.vocabulary import Vocabulary
from ram_ray.labels.parser.caption_parser import EVIDENCE, TAGS, CaptionParser


def vocabulary(*names: str, **columns: object) -> Vocabulary:
    return Vocabulary(names=names, thresholds=np.full(len(names), 0.5, np.float32), **columns)  # pyright: ignore


EVERYDAY = CaptionParser(
    vocabulary(
        "dog", "couch", "brown", "sit", "hot dog", "grey", "fire truck", "truck", "kitchen",
        "T-shirt", "wine glass", "wood", "person", "hat", "play tennis", "cat", "tyre", "stone",
        "hydrant", "surfboard",
    )
)  # fmt: skip
COCO = CaptionParser(
    vocabulary(
        "person", "dog", "car", "dining table", "baseball bat", "skateboard", "bird", "tv",
        kinds=("object",) * 8,
    ),
    widen=True,
)  # fmt: skip


def tags(caption: str, parser: CaptionParser = EVERYDAY) -> list[str]:
    return parser.parse([caption])["tags"][0].as_py()


def rules(caption: str, parser: CaptionParser = EVERYDAY) -> list[tuple[str, str, str]]:
    row = parser.parse_with_evidence([caption]).to_pylist()[0]
    return list(zip(row["tags"], row["rules"], row["surfaces"], strict=True))


def test_kinds_follow_the_use_of_a_word() -> None:
    row = EVERYDAY.parse(["Two brown dogs sit in a kitchen"]).to_pylist()[0]
    assert row["tags"] == ["brown", "dog", "sit", "kitchen"]
    assert row["kinds"] == ["attribute", "object", "action", "scene"]
    assert row["tag_ids"] == [2, 0, 3, 8]


def test_output_has_the_stored_schema() -> None:
    assert EVERYDAY.parse(["a dog", ""]).schema == TAGS
    assert EVERYDAY.parse_with_evidence(["a dog", ""]).schema == EVIDENCE
    assert EVERYDAY.parse([]).num_rows == 0


@pytest.mark.parametrize(
    ("caption", "expected"),
    [
        ("A dog", ("dog", "surface", "dog")),
        ("two dogs", ("dog", "lemma", "dogs")),
        ("a gray wall", ("grey", "spelling", "gray")),
        ("a tire", ("tyre", "spelling", "tire")),
        ("a red sofa", ("couch", "synonym", "sofa")),
        ("a t shirt", ("T-shirt", "surface", "t shirt")),
        ("two wine glasses", ("wine glass", "surface", "wine glasses")),
        ("a wooden door", ("wood", "lemma", "wooden")),
        ("a surf board", ("surfboard", "surface", "surf board")),
        ("many people", ("person", "lemma", "people")),
        ("she plays tennis", ("play tennis", "surface", "plays tennis")),
        ("a rusty firetruck", ("fire truck", "spelling", "firetruck")),
        ("a hotdog", ("hot dog", "spelling", "hotdog")),
    ],
)
def test_a_word_leads_to_its_tag_by_this_rule(caption: str, expected: tuple[str, str, str]) -> None:
    assert expected in rules(caption)


def test_aliases_of_the_vocabulary_count() -> None:
    parser = CaptionParser(vocabulary("vehicle", aliases=(("jalopy",),)))
    assert rules("three jalopies", parser) == [("vehicle", "alias", "jalopies")]


def test_hot_dog_is_no_dog_whether_or_not_the_vocabulary_has_it() -> None:
    assert tags("a hot dog on a plate") == ["hot dog"]
    assert tags("a hot dog on a plate", COCO) == []


def test_compound_gives_its_head_when_it_is_one() -> None:
    parser = CaptionParser(vocabulary("truck", "bear"))
    assert tags("a fire truck", parser) == ["truck"]
    assert tags("a teddy bear", parser) == []


@pytest.mark.parametrize(
    "caption", ["no dogs", "a kitchen without a dog", "there is no dog or cat", "not a dog"]
)
def test_absence_gives_no_tag_and_says_so(caption: str) -> None:
    row = EVERYDAY.parse_with_evidence([caption]).to_pylist()[0]
    assert "dog" not in row["tags"]
    assert "dog" in row["absent"]


def test_a_verb_phrase_is_absent_with_its_verb() -> None:
    row = EVERYDAY.parse_with_evidence(["nobody is playing tennis"]).to_pylist()[0]
    assert "play tennis" not in row["tags"]
    assert "play tennis" in row["absent"]


def test_what_is_there_elsewhere_is_not_absent() -> None:
    row = EVERYDAY.parse_with_evidence(["a dog without a hat and a dog"]).to_pylist()[0]
    assert (row["tags"], row["absent"]) == (["dog"], ["hat"])


def test_spans_cut_the_words_from_the_caption() -> None:
    caption = "\U0001f415 Caf\u00e9: two DOGS\u2019 kitchen"
    row = EVERYDAY.parse_with_evidence([caption]).to_pylist()[0]
    cut = [caption[start:end] for start, end in zip(row["starts"], row["ends"], strict=True)]
    assert cut == row["surfaces"] == ["DOGS", "kitchen"]


def test_a_stated_kind_excludes_another_use() -> None:
    parser = CaptionParser(vocabulary("park", "orange", kinds=("scene", "attribute")))
    assert tags("cars parked in a park", parser) == ["park"]
    assert tags("cars parked on a road", parser) == []
    assert tags("an orange beside a cat", parser) == []
    assert tags("an orange cat", parser) == ["orange"]


def test_widening_is_asked_for() -> None:
    assert tags("a puppy") == []
    assert rules("a puppy", COCO) == [("dog", "wider", "puppy")]
    assert ("person", "wider", "woman") in rules("a woman", COCO)
    assert ("person", "wider", "crowd") in rules("a crowd", COCO)


def test_a_head_alone_means_the_only_tag_that_ends_in_it() -> None:
    assert rules("a table", COCO) == [("dining table", "narrower", "table")]
    assert tags("a bat in a cave", COCO) == []
    assert ("baseball bat", "context", "bat") in rules("a bat at a baseball game", COCO)


def test_verbs_and_agents_imply_their_tool() -> None:
    assert ("skateboard", "implied", "skateboarder") in rules("a skateboarder jumps", COCO)
    assert ("skateboard", "implied", "skateboarding") in rules("a boy skateboarding", COCO)


def test_names_come_before_readings_of_their_words() -> None:
    parser = CaptionParser(vocabulary("potted plant", "orange", kinds=("object",) * 2))
    assert rules("a potted plant", parser) == [("potted plant", "surface", "potted plant")]
    assert tags("there is an orange here", parser) == ["orange"]


def test_synonyms_of_signs_count() -> None:
    parser = CaptionParser(vocabulary("traffic light"))
    assert tags("a stoplight", parser) == tags("a traffic signal", parser) == ["traffic light"]


def test_a_stuffed_animal_is_none() -> None:
    parser = CaptionParser(vocabulary("bear", "bag"))
    assert tags("a stuffed brown bear and a stuffed bag", parser) == ["bag"]


def test_a_slip_of_the_pen_is_forgiven() -> None:
    assert tags("a brown kichen") == ["brown", "kitchen"]


def test_tag_and_kind_come_once() -> None:
    assert tags("a dog and a dog and two dogs") == ["dog"]


def test_vocabulary_with_equal_names_takes_the_kind_that_fits() -> None:
    parser = CaptionParser(vocabulary("paint", "paint", kinds=("object", "action")))
    row = parser.parse(["a boy paints a wall with paint"]).to_pylist()[0]
    assert (row["tag_ids"], row["kinds"]) == ([1, 0], ["action", "object"])


def test_second_batch_knows_what_the_first_has_learnt() -> None:
    parser = CaptionParser(vocabulary("dog", "cat"))
    first = parser.parse(["a dog"])
    parser.parse(["two cats", "a zorb"])
    assert parser.parse(["a dog"]).equals(first)

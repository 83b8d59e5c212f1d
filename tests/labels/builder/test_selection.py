import pytest

from ram_ray.labels.builder.candidates import Key
from ram_ray.labels.builder.selection import select, value
from ram_ray.labels.builder.tags import Tag
from ram_ray.labels.lexicon import load_lexicon

KINDS = {"noun": "object", "adj": "attribute", "verb": "action"}


def tag(text: str, part: str = "noun", *, captions: int = 0, lists: tuple[str, ...] = ()) -> Tag:
    rows = dict.fromkeys(lists, 1)
    return Tag(key=Key(text, part), name=text, kind=KINDS[part], lists=rows, frequency=captions)


def why(*tags: Tag, max_tags: int | None = None) -> dict[str, str]:
    """Return the dropped tags with the reason."""
    kept, dropped = select(
        tags, load_lexicon(), covered={"small"}, min_frequency=5, max_tags=max_tags
    )
    assert len(kept) + len(dropped) == len(tags)
    return {one.tag.name: one.why for one in dropped}


@pytest.mark.parametrize(
    "kept",
    [
        tag("zorb", lists=("small",)),
        tag("zorb", lists=("large", "huge")),
        tag("dog", lists=("large",)),  # common English
        tag("piaffe", lists=("large",), captions=5),
        tag("dog", captions=5),
        tag("wooden", "adj", captions=10),
        tag("jump", "verb", captions=10),
        tag("bike rider", captions=5),
    ],
)
def test_what_is_kept(kept: Tag) -> None:
    assert why(kept) == {}


@pytest.mark.parametrize(
    ("dropped", "reason"),
    [
        (tag("piaffe", lists=("large",)), "on one list that is not covered, and rare"),
        (tag("dog", captions=4), "in 4 captions, fewer than 5"),
        (tag("wooden", "adj", captions=9), "in 9 captions, fewer than 10"),
        (tag("thing", captions=99), "says nothing about a picture"),
        (tag("left", "adj", captions=99), "says nothing about a picture"),
        (tag("s face", captions=99), "says nothing about a picture"),
        (tag("zorb", captions=99), "unknown as noun"),
        (tag("dirt", "adj", captions=99), "a thing rather than an attribute"),
        (tag("woman smile", captions=99), "somebody and what they do"),
        (tag("happiness", captions=99), "not to be seen"),
    ],
)
def test_what_captions_alone_say_is_not_always_a_tag(dropped: Tag, reason: str) -> None:
    found = why(dropped).get(dropped.name, "")
    assert found.startswith(reason)


def test_a_word_that_is_mostly_another_part_of_speech_is_dropped() -> None:
    found = why(tag("jump", captions=10), tag("jump", "verb", captions=31))
    assert found == {"jump": "mostly verb (31 captions, 10 as noun)"}


def test_the_best_are_kept_and_what_a_person_accepts() -> None:
    accepted = tag("zorb")
    accepted.accepted = True
    few = tag("cat", captions=5)
    listed = tag("glomp", lists=("small",), captions=3)
    assert why(few, listed, accepted, max_tags=2) == {"cat": "below the best 2"}


def test_a_list_to_cover_counts_as_much_as_sixteen_times_the_captions() -> None:
    lexicon = load_lexicon()
    said = value(tag("zorb", captions=31), lexicon, {"small"})
    both = value(tag("zorb", captions=1, lists=("small",)), lexicon, {"small"})
    assert both == said

"""Which tags are kept: by a person's word, the lists to cover, or how often captions say them."""

import math
from collections.abc import Collection, Mapping, Sequence
from typing import NamedTuple

from ram_ray.labels.builder.candidates import CAPTIONS, Key
from ram_ray.labels.builder.tags import Tag
from ram_ray.labels.lexicon import Lexicon

# Nouns that captions say often and that tell nothing about a picture. Lists overrule this.
_EMPTY = frozenset(
    "thing kind type sort lot way part piece bit number couple pair bunch side front back top "
    "bottom left right middle end edge background foreground image picture photo photograph shot "
    "view scene area place other something time day while use look set variety amount center "
    "centre distance direction position one two three four five line case example name body "
    "someone somebody somewhere inside outside air".split()
)
_EMPTY_VERBS = frozenset(
    "be have do get make go come seem appear let put take use try start begin keep show see say "
    "tell want need become include contain add give set".split()
)
_EMPTY_ADJECTIVES = frozenset(
    "left right front back middle other same different own such several many few various next "
    "last first second third new certain main more most top bottom".split()
)
_SEEN = frozenset(
    "act animal artifact body event food group location object person phenomenon plant "
    "substance".split()
)
"""The lexicon's categories of what a picture can show."""
COMMON = 5
"""Times that WordNet's tagged text must have a word of a list that is not covered."""


class Dropped(NamedTuple):
    """A tag that is not kept."""

    tag: Tag
    why: str


def select(
    tags: Sequence[Tag],
    lexicon: Lexicon,
    *,
    covered: Collection[str],
    min_frequency: int,
    max_tags: int | None,
) -> tuple[list[Tag], list[Dropped]]:
    """Return the kept tags, the most valuable first, and the others with the reason."""
    ranked = sorted(tags, key=lambda tag: (-value(tag, lexicon, covered), tag.key))
    kept: list[Tag] = []
    dropped: list[Dropped] = []
    said = {tag.key: tag.frequency for tag in tags}
    for tag in ranked:
        why = "" if tag.accepted else _reason_to_drop(tag, lexicon, covered, min_frequency)
        if not why and tag.sources == [CAPTIONS] and not tag.accepted:
            why = _reason_against_captions(tag, said, lexicon)
        if not why and max_tags is not None and len(kept) >= max_tags and not tag.accepted:
            why = f"below the best {max_tags}"
        if why:
            dropped.append(Dropped(tag, why))
        else:
            kept.append(tag)
    return kept, dropped


def value(tag: Tag, lexicon: Lexicon, covered: Collection[str]) -> float:
    """Return the rank of a tag: many lists name it, many captions say it, English uses it.

    A list to cover counts as much as a sixteenfold frequency in captions.
    """
    if tag.accepted:
        return math.inf
    met = max(0, getattr(lexicon.counts(tag.key.text), tag.key.part))
    lists = sum(4.0 if name in covered else 1.0 for name in tag.lists)
    return lists + math.log2(1 + tag.frequency) + 0.5 * math.log2(1 + met)


def _reason_to_drop(
    tag: Tag, lexicon: Lexicon, covered: Collection[str], min_frequency: int
) -> str:
    part, text = tag.key.part, tag.key.text
    if lexicon.is_offensive(text):
        return "offensive, WordNet says: accept it to keep it"
    if any(name in covered for name in tag.lists) or len(tag.lists) > 1:
        return ""
    if tag.lists:
        met = getattr(lexicon.counts(text), part)
        if tag.frequency >= min_frequency or met >= COMMON:
            return ""
        return f"on one list that is not covered, and rare ({tag.frequency} captions)"
    needed = min_frequency if part == "noun" else 2 * min_frequency
    if tag.frequency < needed:
        return f"in {tag.frequency} captions, fewer than {needed}"
    return ""


def _reason_against_captions(tag: Tag, said: Mapping[Key, int], lexicon: Lexicon) -> str:
    """Return why a word is dropped that only captions say, often enough; "" to keep it."""
    part, text = tag.key.part, tag.key.text
    empty = {"noun": _EMPTY, "adj": _EMPTY_ADJECTIVES, "verb": _EMPTY_VERBS}[part]
    if text in empty or any(len(word) == 1 for word in text.split()):
        return "says nothing about a picture"
    if part == "noun" and _is_clause(text, lexicon):
        return "somebody and what they do, rather than one name"
    counts = lexicon.counts(text)
    if " " not in text and getattr(counts, part) < 0:
        return f"unknown as {part}"
    if part == "adj" and counts.noun > 10 * (counts.adj + 1):
        return "a thing rather than an attribute"
    for other in ("noun", "verb", "adj"):
        more = said.get(Key(text, other), 0)
        if more > 3 * tag.frequency:
            return f"mostly {other} ({more} captions, {tag.frequency} as {part})"
    senses = lexicon.senses(text)
    if part == "noun" and senses and not any(lexicon.category(s) in _SEEN for s in senses[:2]):
        return f"not to be seen ({lexicon.category(senses[0])})"
    return ""


def _is_clause(text: str, lexicon: Lexicon) -> bool:
    """Tell whether two words may be a subject and a verb ("woman smile"), unknown as one noun."""
    first, _, second = text.partition(" ")
    if not second or text in lexicon or lexicon.counts(second).verb < 0:
        return False
    return lexicon.noun_category(first) == "person"

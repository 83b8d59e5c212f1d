"""What WordNet's definitions of nouns say beyond its pointers, for `build_lexicon`."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise

ACTIVITIES = ("sport", "game")
"""Nouns whose senses as acts are the tops of the activities in `equipment.parquet`."""
YOUNG = re.compile(
    r"^(?:an? )?(?:very )?young (?:of )?(?:an? )?(?:(?:domestic|male|female) )?([a-z]+)"
)
"""How WordNet defines young animals that its hypernyms do not put under their kind."""
USUAL_SHARE = 0.5
"""Share of a word's senses, by how often each was met, above which a definition means it."""


@dataclass(frozen=True)
class Synset:
    """One noun synset."""

    category: str
    lemmas: list[str]
    offensive: list[str]
    """Lemmas, lower case, that are a slur, a disparagement or an obscenity in this sense."""
    hypernyms: list[int]
    is_instance: bool
    definition: str
    """The gloss without its examples."""


def equipment(
    synsets: dict[int, Synset], words: list[dict[str, object]]
) -> Iterator[tuple[int, int]]:
    """Yield (activity, thing): synsets of a sport or game, and of a thing defined by it.

    "the handwear used by fielders in playing baseball" makes a glove equipment of baseball.
    """
    offsets = used_offsets(synsets)
    tops = {
        offset
        for offset, synset in synsets.items()
        if synset.category == "act" and synset.lemmas and synset.lemmas[0] in ACTIVITIES
    }
    named: dict[str, int] = {}
    for word in words:
        for row, share in sense_shares(word):
            offset = offsets[row]
            is_activity = offset not in tops and not tops.isdisjoint(above(offset, synsets))
            if is_activity and share >= USUAL_SHARE:
                named[str(word["lemma"])] = offset
    for offset, synset in sorted(synsets.items()):
        if synset.category == "artifact":
            for activity in sorted({named[word] for word in said(synset) & named.keys()}):
                yield activity, offset
    usual = usual_things(synsets, words)
    for activity in sorted(set(named.values())):
        for thing in sorted({usual[word] for word in said(synsets[activity]) & usual.keys()}):
            yield activity, thing


def said(synset: Synset) -> set[str]:
    """Return the words of a definition, also without a plural s, and its pairs of words."""
    text = re.findall(r"[a-z]+", synset.definition.lower())
    singular = [word.removesuffix("s") for word in text]
    pairs = [" ".join(pair) for pair in pairwise(text)]
    return {*text, *singular, *pairs}


def usual_things(synsets: dict[int, Synset], words: list[dict[str, object]]) -> dict[str, int]:
    """Return the artifact that each noun usually means."""
    offsets = used_offsets(synsets)
    return {
        str(word["lemma"]): offsets[row]
        for word in words
        for row, share in sense_shares(word)
        if share >= USUAL_SHARE and synsets[offsets[row]].category == "artifact"
    }


def with_food(synsets: dict[int, Synset], words: list[dict[str, object]]) -> Iterator[int]:
    """Yield the artifacts whose definition names something that is usually food."""
    offsets = used_offsets(synsets)
    food = {
        str(word["lemma"])
        for word in words
        for row, share in sense_shares(word)
        if share >= USUAL_SHARE and synsets[offsets[row]].category == "food"
    }
    for offset, synset in sorted(synsets.items()):
        if synset.category == "artifact" and not food.isdisjoint(said(synset)):
            yield offset


def young(synsets: dict[int, Synset], words: list[dict[str, object]]) -> Iterator[tuple[int, str]]:
    """Yield animals whose definition says what they are the young of, and of what.

    WordNet puts a kitten under young mammals only, but defines it as a "young domestic cat".
    """
    nouns = {str(word["lemma"]) for word in words if word.get("noun") is not None}
    for offset, synset in sorted(synsets.items()):
        if synset.category == "animal":
            for kind in YOUNG.findall(synset.definition)[:1]:
                if kind in nouns and kind not in synset.lemmas:
                    yield offset, kind


def parts(synsets: dict[int, Synset], words: list[dict[str, object]]) -> Iterator[tuple[str, str]]:
    """Yield one-word compounds and their first part where the definition names it.

    "bookshelf" is "a shelf on which to keep books"; nothing of a carpet is a car.
    """
    offsets = used_offsets(synsets)
    first_sense = {
        str(word["lemma"]): row for word in words for row, _ in [*sense_shares(word)][:1]
    }
    for noun, row in first_sense.items():
        words_said = said(synsets[offsets[row]]) if noun.isalpha() else set()
        for cut in range(3, len(noun) - 2):
            first, rest = noun[:cut], noun[cut:]
            if first in words_said and first in first_sense and rest in first_sense:
                yield noun, first


def sense_shares(word: dict[str, object]) -> Iterator[tuple[int, float]]:
    """Yield the synset rows of a noun and how much of its use each is, as the lexicon counts."""
    counts: list[int] = word.get("sense_counts", [])  # pyright: ignore
    senses: list[int] = word["senses"]  # pyright: ignore
    for row, count in zip(senses, counts, strict=True):
        yield row, (count + 1) / (sum(counts) + len(counts))


def above(offset: int, synsets: dict[int, Synset]) -> Iterator[int]:
    """Yield a synset and everything above it."""
    yield offset
    for up in synsets[offset].hypernyms:
        yield from above(up, synsets)


def used_offsets(synsets: dict[int, Synset]) -> list[int]:
    """Return the synsets that are written, by row."""
    return [offset for offset, synset in sorted(synsets.items()) if not synset.is_instance]

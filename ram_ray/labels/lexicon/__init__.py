"""Words of English: parts of speech with counts, noun senses, irregular forms (see SOURCES.md)."""

from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow.parquet as pq

FOLDER = Path(__file__).parent

VISIBLE = frozenset(
    "animal artifact body event food group location object person phenomenon plant substance "
    "time".split()
)
"""Noun categories that a picture can show, as an object or a scene."""

COMMON = 3


class Counts(NamedTuple):
    """How often a lemma was met as each part of speech in WordNet's tagged texts; -1: never one."""

    noun: int
    verb: int
    adj: int
    adv: int


UNKNOWN = Counts(-1, -1, -1, -1)


class Lexicon:
    """The tables in memory; about 0.3 s to load, 80 MB."""

    def __init__(self) -> None:
        words = pq.read_table(FOLDER / "words.parquet")
        self._row_of = {lemma: row for row, lemma in enumerate(words["lemma"].to_pylist())}
        parts = [words[part].fill_null(-1).to_numpy() for part in Counts._fields]
        self._counts = [Counts(*row) for row in np.stack(parts, axis=1).tolist()]
        self.common = {
            lemma: max(counts)
            for lemma, counts in zip(self._row_of, self._counts, strict=True)
            if max(counts) >= COMMON
        }
        """Lemmas that WordNet's texts use at least COMMON times, and how often."""
        self._senses = words["senses"].to_pylist()
        self._sense_counts = words["sense_counts"].to_pylist()
        flags = zip(words["lemma"].to_pylist(), words["offensive"].to_pylist(), strict=True)
        self._offensive = frozenset(lemma for lemma, flag in flags if flag)
        synsets = pq.read_table(FOLDER / "synsets.parquet")
        self._lemmas = synsets["lemmas"].to_pylist()
        # The top of a category, such as "person", lies in a file of its own: count it in.
        self._category = [
            lemmas[0] if category == "tops" and lemmas[0] in VISIBLE else category
            for category, lemmas in zip(
                synsets["category"].cast("string").to_pylist(), self._lemmas, strict=True
            )
        ]
        self._hypernyms = synsets["hypernyms"].to_pylist()
        offsets = synsets["offset"].to_pylist()
        self._synset_at = {offset: synset for synset, offset in enumerate(offsets)}
        self._above: dict[int, list[int]] = {}
        self._equipment: dict[int, list[int]] = {}
        pairs = pq.read_table(FOLDER / "equipment.parquet").to_pydict()
        for activity, thing in zip(pairs["activity"], pairs["thing"], strict=True):
            self._equipment.setdefault(activity, []).append(thing)
        with_food = pq.read_table(FOLDER / "with_food.parquet")
        self._with_food = frozenset(with_food["thing"].to_pylist())
        young = pq.read_table(FOLDER / "young.parquet").to_pydict()
        self._young_of = dict(zip(young["animal"], young["kind"], strict=True))
        parts = pq.read_table(FOLDER / "parts.parquet").to_pydict()
        self._part_of = dict(zip(parts["noun"], parts["part"], strict=True))
        irregular = pq.read_table(FOLDER / "irregular.parquet").to_pydict()
        self._irregular: dict[tuple[str, str], list[str]] = {}
        for form, lemma, part in zip(*irregular.values(), strict=True):
            self._irregular.setdefault((form, part), []).append(lemma)

    def __contains__(self, lemma: str) -> bool:
        return lemma in self._row_of

    def counts(self, lemma: str) -> Counts:
        """Return the counts of a lemma; `UNKNOWN` for a word that is not in the lexicon."""
        row = self._row_of.get(lemma)
        return UNKNOWN if row is None else self._counts[row]

    def is_offensive(self, lemma: str) -> bool:
        """Tell whether WordNet marks a noun as slur, disparagement or obscenity in most senses."""
        return lemma in self._offensive

    def irregular(self, form: str, part: str) -> list[str]:
        """Return the lemmas of an irregular form as "noun", "verb", "adj" or "adv"."""
        return self._irregular.get((form, part), [])

    def irregular_forms(self) -> Iterator[tuple[str, str, str]]:
        """Yield (form, lemma, part of speech)."""
        for (form, part), lemmas in self._irregular.items():
            for lemma in lemmas:
                yield form, lemma, part

    def nouns(self) -> Iterator[str]:
        """Yield every noun."""
        for lemma, row in self._row_of.items():
            if self._counts[row].noun >= 0:
                yield lemma

    def compounds(self) -> Iterator[str]:
        """Yield the nouns of several words."""
        for lemma, row in self._row_of.items():
            if " " in lemma and self._counts[row].noun >= 0:
                yield lemma

    def nouns_ending_in(self, tails: tuple[str, ...]) -> Iterator[str]:
        """Yield the one-word nouns that end in one of the tails."""
        for lemma, row in self._row_of.items():
            if lemma.endswith(tails) and lemma.isalpha() and self._counts[row].noun >= 0:
                yield lemma

    def senses(self, noun: str) -> list[int]:
        """Return the synsets of a noun, most frequent first."""
        row = self._row_of.get(noun)
        return [] if row is None else self._senses[row]

    def sense_share(self, noun: str, synset: int, *, extra: int = 1) -> float:
        """Return how much of a noun's use, 0..1, is in this sense; 0 for a sense it has not.

        Each sense counts `extra` times more than it was met, so that senses never met share
        evenly; the more, the less a few meetings tell.
        """
        row = self._row_of.get(noun)
        if row is None or synset not in self._senses[row]:
            return 0.0
        counts = self._sense_counts[row]
        count = counts[self._senses[row].index(synset)]
        return (count + extra) / (sum(counts) + extra * len(counts))

    def synset_at(self, offset: int) -> int | None:
        """Return the synset of a WordNet 3.0 noun offset: ImageNet's n02084071 is 2084071."""
        return self._synset_at.get(offset)

    def category(self, synset: int) -> str:
        """Return a synset's category, such as "animal", "artifact" or "location"."""
        return self._category[synset]

    def lemmas(self, synset: int) -> list[str]:
        """Return the nouns of a synset."""
        return self._lemmas[synset]

    def hypernyms(self, synset: int) -> list[int]:
        """Return the synsets right above."""
        return self._hypernyms[synset]

    def equipment(self, activity: int) -> list[int]:
        """Return the things that WordNet defines by a sport or game, or it by them."""
        return self._equipment.get(activity, [])

    def goes_with_food(self, synset: int) -> bool:
        """Tell whether a thing's definition names food: a dining table's names meals."""
        return synset in self._with_food

    def young_of(self, synset: int) -> str:
        """Return the noun that a young animal is defined as the young of; "" for none."""
        return self._young_of.get(synset, "")

    def first_part(self, noun: str) -> str:
        """Return the noun that a compound begins with; "" where it does not mean it.

        Names of several words always do ("clock tower"), one word only where its definition
        names the part ("bookshelf", but not "carpet").
        """
        first, _, rest = noun.partition(" ")
        if rest:
            return first if self.counts(first).noun >= 0 else ""
        return self._part_of.get(noun, "")

    def noun_category(self, noun: str) -> str:
        """Return the category of a noun's first sense; "" for no noun."""
        senses = self.senses(noun)
        return self._category[senses[0]] if senses else ""

    def visible_sense(self, noun: str) -> int | None:
        """Return the first sense that a picture can show; None where there is none.

        A time or an event counts only as the very first sense ("evening", but not "trick"). A
        group comes last ("table"), and so does a person among senses that WordNet's texts never
        met ("hot dog").
        """
        senses = self.senses(noun)
        if senses and self.category(senses[0]) in ("time", "event"):
            return senses[0]
        senses = [sense for sense in senses if self.category(sense) in VISIBLE]
        senses = [sense for sense in senses if self.category(sense) not in ("time", "event")]
        senses.sort(key=lambda sense: self.category(sense) == "group")
        if self.counts(noun).noun <= 0:
            senses.sort(key=lambda sense: self.category(sense) == "person")
        return senses[0] if senses else None

    def above(self, synset: int) -> list[int]:
        """Return all synsets above, nearest first."""
        found = self._above.get(synset)
        if found is None:
            nearest = self.hypernyms(synset)
            further = [up for near in nearest for up in self.above(near)]
            found = self._above[synset] = list(dict.fromkeys([*nearest, *further]))
        return found


@cache
def load_lexicon() -> Lexicon:
    """Return the lexicon of this process."""
    return Lexicon()

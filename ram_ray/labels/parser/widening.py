"""From words to tags of a vocabulary that is much coarser than the captions, such as 80 classes."""

from collections.abc import Callable

import numpy as np

from ram_model.vocabulary import Vocabulary
from ram_ray.labels.lexicon import Lexicon
from ram_ray.labels.parser.resolution import (
    IMPLIED,
    LEMMA,
    MIN_SHARE,
    MODIFIER,
    NARROWER,
    NO_TAG,
    OBJECT,
    SCENE,
    UNRESOLVED,
    WIDER,
    Resolved,
    TagResolver,
    index_key,
)
from ram_ray.labels.parser.word_reading import Word

MAX_EQUIPMENT = 3
"""Most things of one sport that its name stands for."""
_AGENT_ENDS = ((2, ""), (1, ""), (3, ""), (3, "e"))
"""Letters to take from an agent, and to add: skier, bicycler, batter, bicyclist."""
_OF_PEOPLE = ("gathering", "kin", "unit", "musical organization", "force", "people")
"""Groups of people: for a wider term, their members are persons."""


class WideResolver(TagResolver):
    """Also gives near tags: a wider one ("puppy": dog), the only narrower one, equipment."""

    def __init__(self, vocabulary: Vocabulary, lexicon: Lexicon) -> None:
        super().__init__(vocabulary, lexicon)
        self._person = lexicon.visible_sense("person")
        self._people = {
            sense
            for noun in _OF_PEOPLE
            for sense in lexicon.senses(noun)
            if lexicon.category(sense) == "group"
        }

    def _ways(self) -> list[tuple[int, Callable[[Word], int]]]:
        return [*super()._ways(), (NARROWER, self._narrower), (WIDER, self._wider)]

    def _narrower(self, word: Word) -> int:
        """Return the only tag that is a kind of this word by its name: "table", "dining table"."""
        return next((self._usual[noun] for noun in word.nouns if noun in self._usual), NO_TAG)

    def _wider(self, word: Word) -> int:
        sense = self._sense(word)
        if sense is None:
            return NO_TAG
        young_of = self._lexicon.young_of(sense)
        if young_of:
            found = self._find(young_of, (), (OBJECT, SCENE)).tag_id
            if found != NO_TAG:
                return found
        above = self._lexicon.above(sense)
        if self._people & {sense, *above} and self._person is not None:
            above = [*above, self._person]
        return next((self._by_sense[up] for up in above if up in self._by_sense), NO_TAG)

    def in_context(self, word: Word) -> tuple[int, frozenset[str]]:
        """Return the only tag that ends in this word, and its other words.

        The word means that tag in a caption that has the others as well: "bat" is a baseball
        bat where there is baseball.
        """
        for noun in word.nouns:
            tag_ids = self._by_head.get(noun, ())
            if len(tag_ids) == 1 and noun not in self._usual:
                name = index_key(self._vocabulary.names[tag_ids[0]])
                return tag_ids[0], frozenset(name.split()[:-1])
        return NO_TAG, frozenset()

    def modifier(self, word: Word) -> Resolved:
        """Return what a noun before a head means: "car" in "car door"."""
        found = self._find(word.form, word.nouns, (OBJECT, SCENE))
        return found._replace(rule=MODIFIER) if found.rule <= LEMMA else UNRESOLVED

    def implied(self, word: Word, *, as_noun: bool) -> dict[int, int]:
        """Return tags that a noun or verb speaks of without being one, and by which rule.

        The tool that a verb or an agent is named after (skateboarding, snowboarder), equipment of
        a sport (baseball: baseball glove), the first part of a compound (clock tower).
        """
        found = {self._tool(word): IMPLIED}
        if as_noun:
            found |= dict.fromkeys(self._equipment(word), IMPLIED)
            found |= {self._first_part(word): MODIFIER}
        found.pop(NO_TAG, None)
        return found

    def _tool(self, word: Word) -> int:
        stems = [lemma for lemma in word.verbs if lemma != word.form and self._is_tool(lemma)]
        for noun in word.nouns:
            if self._lexicon.noun_category(noun) == "person":
                agents = [noun[:-cut] + end for cut, end in _AGENT_ENDS if len(noun) > cut + 2]
                stems += [stem for stem in agents if self._is_tool(stem)]
        tools = (self._find(stem, (), (OBJECT, SCENE)).tag_id for stem in stems)
        return next((tag_id for tag_id in tools if tag_id != NO_TAG), NO_TAG)

    def _is_tool(self, noun: str) -> bool:
        """Tell whether a word names a thing first and an activity only after it."""
        counts = self._lexicon.counts(noun)
        return counts.noun >= counts.verb and self._lexicon.noun_category(noun) == "artifact"

    def _first_part(self, word: Word) -> int:
        for noun in word.nouns:
            first = self._lexicon.first_part(noun)
            if first:
                found = self._find(first, (), (OBJECT, SCENE)).tag_id
                return NO_TAG if found == self.noun(word).tag_id else found
        return NO_TAG

    def _equipment(self, word: Word) -> list[int]:
        firsts = [first for noun in word.nouns if (first := self._lexicon.first_part(noun))]
        for noun in (*word.nouns, *firsts):
            for sense in self._lexicon.senses(noun):
                if self._lexicon.sense_share(noun, sense) >= MIN_SHARE:
                    things = self._lexicon.equipment(sense)
                    tag_ids = [self._by_sense.get(thing, NO_TAG) for thing in things]
                    found = sorted({tag_id for tag_id in tag_ids if tag_id != NO_TAG})
                    # A vocabulary that has all of a sport's things tells them apart in captions.
                    if found:
                        return found if len(found) <= MAX_EQUIPMENT else []
        return []

    def rivals(self, word: Word) -> frozenset[int]:
        """Return tags that a noun means instead of its own where an image shows them.

        Those that end in it and are no kind of it ("bear": teddy bear), and those of its other
        senses ("bike": bicycle, motorcycle).
        """
        own = self.noun(word)
        found: set[int] = set()
        for noun in word.nouns:
            found |= {
                tag_id
                for tag_id in self._by_head.get(noun, ())
                if own.rule <= LEMMA
                and not self._is_a(index_key(self._vocabulary.names[tag_id]), own.tag_id)
            }
            if own.rule > LEMMA:
                found |= {
                    self._by_usual_sense.get(sense, NO_TAG)
                    for sense in self._lexicon.senses(noun)
                    if self._lexicon.sense_share(noun, sense) >= MIN_SHARE
                }
        return frozenset(found - {own.tag_id, NO_TAG}) if own.tag_id != NO_TAG else frozenset()

    def is_food(self, word: Word) -> bool:
        """Tell whether a noun usually means something to eat."""
        sense = self._sense(word)
        return sense is not None and self._lexicon.category(sense) == "food"

    def goes_with_food(self) -> np.ndarray:
        """Return which tags are things whose definition names food, bool [tags]."""
        senses = map(self._tag_sense, range(len(self._vocabulary)))
        return np.array([s is not None and self._lexicon.goes_with_food(s) for s in senses])

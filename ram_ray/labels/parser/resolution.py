"""From words to tags of a vocabulary; how a word can lead to a tag stands in RULES."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import NamedTuple

from ram_model.vocabulary import Vocabulary
from ram_ray.labels.lexicon import VISIBLE, Lexicon
from ram_ray.labels.parser.function_words import MADE_OF
from ram_ray.labels.parser.inflection import noun_lemmas, plural, spellings
from ram_ray.labels.parser.kinds import noun_kind
from ram_ray.labels.parser.tokens import fold
from ram_ray.labels.parser.word_reading import Word

KINDS = ("object", "scene", "attribute", "action")
"""Kinds of a mention, in the order of their codes."""
OBJECT, SCENE, ATTRIBUTE, ACTION = range(4)

RULES = (
    "surface",
    "lemma",
    "spelling",
    "alias",
    "synonym",
    "head",
    "narrower",
    "wider",
    "context",
    "implied",
    "modifier",
)
"""How a word can lead to a tag, surest first: the values of `rule` in evidence."""
SURFACE, LEMMA, SPELLING, ALIAS, SYNONYM, HEAD = range(6)
NARROWER, WIDER, CONTEXT, IMPLIED, MODIFIER = range(6, 11)

NO_TAG = -1
MIN_SHARE = 0.3
"""Share of a noun's use that a sense needs to lead to a synonym or a wider term."""
FURTHER_SHARE = 0.2
"""Share of a tag's name's use above which a further sense stands for the tag, too."""
UNAMBIGUOUS_SHARE = 0.7
"""Share of a head's use in one sense above which it stands for the only tag that ends in it."""


class Resolved(NamedTuple):
    """What a word means in a role."""

    tag_id: int
    kind: int
    rule: int


UNRESOLVED = Resolved(NO_TAG, OBJECT, SURFACE)


@lru_cache(maxsize=100_000)
def index_key(name: str) -> str:
    """Return the form under which names are looked up: folded, hyphens and blanks alike."""
    return " ".join(fold(name).replace("-", " ").split())


class TagResolver:
    """Looks words up in a vocabulary; see `widening` for vocabularies coarser than captions."""

    def __init__(self, vocabulary: Vocabulary, lexicon: Lexicon) -> None:
        self._vocabulary = vocabulary
        self._lexicon = lexicon
        self._by_name: dict[str, list[int]] = {}
        self._by_alias: dict[str, list[int]] = {}
        self._by_joined: dict[str, list[int]] = {}
        for tag_id, name in enumerate(vocabulary.names):
            _add(self._by_name, name, tag_id)
            if " " not in name:
                for lemma in noun_lemmas(index_key(name), lexicon):
                    if lemma != index_key(name):
                        _add(self._by_alias, lemma, tag_id)
            if " " in index_key(name):
                self._by_joined.setdefault(index_key(name).replace(" ", ""), []).append(tag_id)
            for alias in vocabulary.aliases[tag_id]:
                _add(self._by_alias, alias, tag_id)
        self._by_head: dict[str, list[int]] = {}
        for name, tag_ids in self._by_name.items():
            if " " in name:
                self._by_head.setdefault(name.rpartition(" ")[2], []).extend(tag_ids)
        self._usual: dict[str, int] = {}
        self._by_sense: dict[int, int] = {}
        self._by_usual_sense: dict[int, int] = {}
        self._index_senses()

        for head, tag_ids in self._by_head.items():
            if len(tag_ids) == 1 and self._is_usual_kind(tag_ids[0], head):
                self._usual[head] = tag_ids[0]
                sense = lexicon.visible_sense(head)
                if sense is not None and self._tag_sense(tag_ids[0]) is None:
                    self._by_sense.setdefault(sense, tag_ids[0])

    def _index_senses(self) -> None:
        """Note what each tag shows: its usual sense before its further ones."""
        further: list[tuple[int, int]] = []
        for key, tag_ids in (self._by_name | self._by_alias).items():
            if self._vocabulary.kinds[tag_ids[0]] in ("attribute", "action"):
                continue
            senses = self._lexicon.senses(key) or self._lexicon.senses(key.replace(" ", ""))
            usual = self._tag_sense_of(key)
            if usual is None:
                usual = next(iter(senses), None)
            if usual is not None:
                self._by_sense.setdefault(usual, tag_ids[0])
                self._by_usual_sense.setdefault(usual, tag_ids[0])
            for sense in senses:
                visible = self._lexicon.category(sense) in VISIBLE - {"person", "time"}
                if visible and self._lexicon.sense_share(key, sense) >= FURTHER_SHARE:
                    further.append((sense, tag_ids[0]))
            for sense in self._lexicon.senses(plural(key)):
                if self._lexicon.category(sense) == "animal":  # "cows" are cattle
                    further.append((sense, tag_ids[0]))
        for sense, tag_id in further:
            self._by_sense.setdefault(sense, tag_id)

    def names(self) -> Iterator[str]:
        """Yield names, aliases and synonyms of signs ("traffic signal") as they are matched."""
        yield from self._by_name
        yield from self._by_alias
        for sense in self._by_usual_sense:
            if self._lexicon.category(sense) == "communication":
                yield from (lemma for lemma in self._lexicon.lemmas(sense) if " " in lemma)

    def noun(self, word: Word) -> Resolved:
        """Return what a head of a noun phrase means."""
        found = self._find(word.form, word.nouns, (OBJECT, SCENE))
        for rule, way in self._ways():
            if found.tag_id != NO_TAG:
                return found
            found = self._as_noun(way(word), rule)
        return found

    def _ways(self) -> list[tuple[int, Callable[[Word], int]]]:
        """Return the rules for nouns that the vocabulary does not have, in their order."""
        return [(SYNONYM, self._synonym), (HEAD, self._head)]

    def attribute(self, word: Word) -> Resolved:
        """Return what a modifier means."""
        lemmas = (MADE_OF.get(word.form, ""), *word.adjs, *(word.nouns if not word.adjs else ()))
        return self._find(word.form, tuple(filter(None, lemmas)), (ATTRIBUTE,))

    def action(self, word: Word) -> Resolved:
        """Return what a verb means."""
        lemmas = word.verbs or word.nouns
        found = self._find(lemmas[0] if lemmas else word.form, lemmas, (ACTION,))
        if found.tag_id == NO_TAG:
            return self._find(word.form, (), (ACTION,))
        rule = SURFACE if lemmas and lemmas[0] == word.form else max(found.rule, LEMMA)
        return found._replace(rule=rule)

    def _as_noun(self, tag_id: int, rule: int) -> Resolved:
        if tag_id == NO_TAG:
            return UNRESOLVED
        kind = self._kind(tag_id, index_key(self._vocabulary.names[tag_id]), (OBJECT, SCENE))
        return UNRESOLVED if kind is None else Resolved(tag_id, kind, rule)

    def _find(self, form: str, lemmas: Sequence[str], kinds: tuple[int, ...]) -> Resolved:
        for rule, index, candidates in (
            (SURFACE, self._by_name, (form,)),
            (LEMMA, self._by_name, (lemma for lemma in lemmas if " " in form or " " not in lemma)),
            (SPELLING, self._by_name, (*_spelled(form, *lemmas), *lemmas)),
            (SPELLING, self._by_joined, (form, *lemmas)),
            (ALIAS, self._by_alias, (form, *lemmas)),
            (ALIAS, self._by_alias, _spelled(form, *lemmas)),
        ):
            for candidate in candidates:
                for tag_id in index.get(index_key(candidate), ()):
                    kind = self._kind(tag_id, candidate, kinds)
                    if kind is not None:
                        return Resolved(tag_id, kind, rule)
        return UNRESOLVED

    def _kind(self, tag_id: int, name: str, kinds: tuple[int, ...]) -> int | None:
        """Return the kind of a tag used in a role; None where the vocabulary says otherwise."""
        stated = self._vocabulary.kinds[tag_id]
        if stated != "other":
            code = KINDS.index(stated)
            return code if code in kinds else None
        if OBJECT in kinds:
            return KINDS.index(noun_kind(name, self._lexicon))
        return kinds[0]

    def _sense(self, word: Word) -> int | None:
        """Return what a word shows, where one sense is what it usually means."""
        for noun in word.nouns:
            sense = self._lexicon.visible_sense(noun)
            if sense is not None:
                return sense if self._lexicon.sense_share(noun, sense) >= MIN_SHARE else None
            senses = self._lexicon.senses(noun)
            if len(senses) == 1:
                return senses[0]
        return None

    def _synonym(self, word: Word) -> int:
        sense = self._sense(word)
        if sense is not None and sense in self._by_sense:
            return self._by_sense[sense]
        # No tag for what it usually shows: another sense that is as usual ("stoplight").
        for noun in word.nouns[:1]:
            for sense in self._lexicon.senses(noun):
                if sense in self._by_sense and self._is_sign(noun, sense):
                    return self._by_sense[sense]
        return NO_TAG

    def _is_sign(self, noun: str, sense: int) -> bool:
        """Tell whether a noun usually means a sense that WordNet calls communication."""
        usual = self._lexicon.sense_share(noun, sense) >= MIN_SHARE
        return usual and self._lexicon.category(sense) == "communication"

    def _head(self, word: Word) -> int:
        """Return the tag of a compound's last word where the compound is a kind of it."""
        for noun in word.nouns:
            for separator in (" ", "-"):
                rest, _, head = noun.rpartition(separator)
                if not rest:
                    continue
                found = self._find(head, (), (OBJECT, SCENE))
                if found.tag_id != NO_TAG:
                    return found.tag_id if self._is_a(noun, found.tag_id) else NO_TAG
        return NO_TAG

    def _is_a(self, noun: str, tag_id: int) -> bool:
        """Tell whether a compound may be a kind of a tag: yes where nobody knows it."""
        senses = self._lexicon.senses(noun)
        wanted = set(self._lexicon.senses(index_key(self._vocabulary.names[tag_id])))
        above = {up for sense in senses for up in (sense, *self._lexicon.above(sense))}
        return not senses or not wanted.isdisjoint(above)

    def _is_usual_kind(self, tag_id: int, head: str) -> bool:
        """Tell whether a head alone usually means the tag: a dining table is a table.

        A name that the lexicon does not know ("sports ball") is so where its head has hardly
        another meaning.
        """
        sense = self._tag_sense(tag_id)
        wanted = self._lexicon.visible_sense(head)
        if wanted is None:
            return False
        if sense is None:
            return self._lexicon.sense_share(head, wanted) >= UNAMBIGUOUS_SHARE
        # Senses under one and the same term, such as the two tables of WordNet, are one here.
        same = {
            other
            for other in self._lexicon.senses(head)
            if self._lexicon.hypernyms(other) == self._lexicon.hypernyms(wanted)
        }
        return not same.isdisjoint(self._lexicon.above(sense))

    def _tag_sense(self, tag_id: int) -> int | None:
        return self._tag_sense_of(index_key(self._vocabulary.names[tag_id]))

    def _tag_sense_of(self, key: str) -> int | None:
        sense = self._lexicon.visible_sense(key)
        return self._lexicon.visible_sense(key.replace(" ", "")) if sense is None else sense


def _spelled(*words: str) -> Iterable[str]:
    for word in words:
        yield from spellings(word)


def _add(index: dict[str, list[int]], name: str, tag_id: int) -> None:
    ids = index.setdefault(index_key(name), [])
    if tag_id not in ids:
        ids.append(tag_id)

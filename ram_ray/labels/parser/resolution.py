"""From words to tags of a vocabulary: by form, lemma, spelling, alias, synonym, head, wider term."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from ram_model.vocabulary import Vocabulary
from ram_ray.labels.lexicon import Lexicon
from ram_ray.labels.parser.compounds import is_kind_of_head
from ram_ray.labels.parser.function_words import MADE_OF
from ram_ray.labels.parser.inflection import spellings
from ram_ray.labels.parser.kinds import noun_kind
from ram_ray.labels.parser.tokens import fold
from ram_ray.labels.parser.words import Word

KINDS = ("object", "scene", "attribute", "action")
"""Kinds of a mention, in the order of their codes."""
OBJECT, SCENE, ATTRIBUTE, ACTION = range(4)

RULES = ("surface", "lemma", "spelling", "alias", "synonym", "head", "wider")
"""How a word can lead to a tag, surest first: the values of `rule` in evidence."""
SURFACE, LEMMA, SPELLING, ALIAS, SYNONYM, HEAD, WIDER = range(7)

NO_TAG = -1


class Resolved(NamedTuple):
    """What a word means in a role."""

    tag_id: int
    kind: int
    rule: int


UNRESOLVED = Resolved(NO_TAG, OBJECT, SURFACE)


def index_key(name: str) -> str:
    """Return the form under which names are looked up: folded, hyphens and blanks alike."""
    return " ".join(fold(name).replace("-", " ").split())


class TagResolver:
    """Looks words up in a vocabulary.

    Args:
        widen: a word without a tag gives the nearest wider tag ("puppy": "dog"), by the
            vocabulary's parents and the lexicon.
    """

    def __init__(self, vocabulary: Vocabulary, lexicon: Lexicon, *, widen: bool) -> None:
        self._vocabulary = vocabulary
        self._lexicon = lexicon
        self._widen = widen
        self._by_name: dict[str, list[int]] = {}
        self._by_alias: dict[str, list[int]] = {}
        self._by_joined: dict[str, list[int]] = {}
        for tag_id, name in enumerate(vocabulary.names):
            _add(self._by_name, name, tag_id)
            if " " in index_key(name):
                self._by_joined.setdefault(index_key(name).replace(" ", ""), []).append(tag_id)
            for alias in vocabulary.aliases[tag_id]:
                _add(self._by_alias, alias, tag_id)
        self._by_sense: dict[int, int] = {}
        for key, tag_ids in (self._by_name | self._by_alias).items():
            sense = lexicon.visible_sense(key)
            if sense is not None and vocabulary.kinds[tag_ids[0]] not in ("attribute", "action"):
                self._by_sense.setdefault(sense, tag_ids[0])

    def names(self) -> Iterator[str]:
        """Yield names and aliases as the parser shall match them."""
        yield from self._by_name
        yield from self._by_alias

    def noun(self, word: Word) -> Resolved:
        """Return what a head of a noun phrase means."""
        found = self._find(word.form, word.nouns, (OBJECT, SCENE))
        for rule, ways in ((SYNONYM, self._synonym), (HEAD, self._head), (WIDER, self._wider)):
            if found.tag_id != NO_TAG:
                return found
            found = self._as_noun(ways(word), rule)
        return found

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
            (LEMMA, self._by_name, lemmas),
            (SPELLING, self._by_name, _spelled(form, *lemmas)),
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

    def _synonym(self, word: Word) -> int:
        for noun in word.nouns:
            sense = self._lexicon.visible_sense(noun)
            if sense is not None:
                return self._by_sense.get(sense, NO_TAG)
        return NO_TAG

    def _head(self, word: Word) -> int:
        """Return the tag of a compound's last word where the compound is a kind of it."""
        for noun in word.nouns:
            for separator in (" ", "-"):
                rest, _, head = noun.rpartition(separator)
                if not rest:
                    continue
                known = self._lexicon.visible_sense(noun) is not None
                if known and not is_kind_of_head(noun, head, self._lexicon):
                    return NO_TAG
                found = self._find(head, (), (OBJECT, SCENE))
                if found.tag_id != NO_TAG:
                    return found.tag_id
        return NO_TAG

    def _wider(self, word: Word) -> int:
        if not self._widen:
            return NO_TAG
        for noun in word.nouns:
            sense = self._lexicon.visible_sense(noun)
            if sense is None:
                continue
            for above in self._lexicon.above(sense):
                if above in self._by_sense:
                    return self._by_sense[above]
        return NO_TAG


def _spelled(*words: str) -> Iterable[str]:
    for word in words:
        yield from spellings(word)


def _add(index: dict[str, list[int]], name: str, tag_id: int) -> None:
    ids = index.setdefault(index_key(name), [])
    if tag_id not in ids:
        ids.append(tag_id)


"""Names of several words: which of them the trie looks for, and how each is read.

Three sources: the vocabulary, the lexicon's compounds ("hot dog" is no dog, whether or not the
vocabulary has it), and one-word names that people write apart ("surf board").
"""

from collections.abc import Iterable, Iterator
from typing import NamedTuple

from ram_ray.labels.lexicon import VISIBLE, Lexicon
from ram_ray.labels.parser import speech
from ram_ray.labels.parser.function_words import FUNCTION_WORDS, MATERIALS
from ram_ray.labels.parser.phrases import MAX_WORDS
from ram_ray.labels.parser.word_reading import Word

_TAILS = frozenset(
    "board room walk pack brush ball boat house way light bag paper cake cart cloth craft cup "
    "flower hole man men woman women yard side bow bike chair mower pan pot road shelf shine "
    "stand stop store table top track tub ware wheel works berry bread fish fly bird horse "
    "melon apple corn glasses shirt suit wear coat band book case keeper maker box plane port "
    "line drive".split()
)
"""Second parts of one-word compounds that are often written apart."""

_TAKES_OBJECT = frozenset(
    "play climb ride drive eat drink hold wear cut read throw catch kick hit feed wash do take "
    "make go get look put pick blow talk watch".split()
)
"""First words of names such as "play tennis"; not "paint", for "paint brush" is a brush."""


_RAILS = tuple("train rail subway metro".split())
"""Before "car", these make it a railcar."""


class Compound(NamedTuple):
    """A name of several words."""

    words: tuple[str, ...]
    name: str
    """As in the vocabulary or the lexicon."""
    part: int
    """speech.NOUN, speech.ADJ, or speech.VERB: a verb with its object, matched beside its parts."""


def compounds(names: Iterable[str], lexicon: Lexicon) -> Iterator[Compound]:
    """Yield the names to look for; of equal word sequences the first counts.

    Args:
        names: of the vocabulary, folded, aliases included.
    """
    for name in names:
        words = _split(name)
        if len(words) == 1:
            yield from _written_apart(name, lexicon, anywhere=True)
        elif len(words) <= MAX_WORDS:
            yield Compound(words, name, _part(name, words, lexicon))
    yield from (Compound((first, "car"), "railcar", speech.NOUN) for first in _RAILS)
    for name in lexicon.compounds():
        words = _split(name)
        if len(words) <= MAX_WORDS and _is_closed(name, words, lexicon):
            yield Compound(words, name, speech.NOUN)
    for name in lexicon.nouns_ending_in(tuple(sorted(_TAILS))):
        yield from _written_apart(name, lexicon, anywhere=False)


def read_compound(compound: Compound, *, plural: bool, lexicon: Lexicon) -> Word:
    """Return the compound as one word."""
    features = speech.F_NS if plural else speech.F_N
    if compound.words[-1] in MATERIALS:
        features |= speech.MATERIAL
    if compound.part == speech.ADJ:
        return Word(compound.name, speech.ADJ, speech.F_A, adjs=(compound.name,))
    head = compound.words[-1]
    category = lexicon.noun_category(compound.name) or lexicon.noun_category(head)
    if category in ("person", "animal", "group"):
        features |= speech.ANIMATE
    return Word(
        compound.name, compound.part, features, (compound.name,), num_words=len(compound.words)
    )


def _split(name: str) -> tuple[str, ...]:
    return tuple(name.replace("-", " ").split())


def _part(name: str, words: tuple[str, ...], lexicon: Lexicon) -> int:
    if name in lexicon and lexicon.counts(name).noun >= 0:
        return speech.NOUN
    if name in lexicon and max(lexicon.counts(name).adj, lexicon.counts(name).adv) >= 0:
        return speech.ADJ
    particle = words[-1] in FUNCTION_WORDS and lexicon.counts(words[0]).verb >= 0
    if words[0] in _TAKES_OBJECT or particle:
        return speech.VERB
    return speech.NOUN


def _is_closed(name: str, words: tuple[str, ...], lexicon: Lexicon) -> bool:
    """Tell whether a compound of the lexicon is read as one thing.

    "young man" and "white shirt" are an adjective and a noun; "hot dog" and "fire truck" are not.
    """
    if any(word in FUNCTION_WORDS for word in words):
        return False
    categories = {lexicon.category(sense) for sense in lexicon.senses(name)}
    if lexicon.counts(words[0]).adj > 0 and not words[0].endswith("ing"):
        made = categories & {"artifact", "food"}
        return bool(made) and not is_kind_of_head(name, words[-1], lexicon)
    return bool(categories & VISIBLE - {"time"})


def is_kind_of_head(name: str, head: str, lexicon: Lexicon) -> bool:
    """Tell whether a compound is a kind of its last word: a fire truck is a truck."""
    heads = set(lexicon.senses(head))
    return any(
        heads & {sense, *lexicon.above(sense)}
        for sense in lexicon.senses(name)
        if lexicon.category(sense) in VISIBLE
    )


def _written_apart(name: str, lexicon: Lexicon, *, anywhere: bool) -> Iterator[Compound]:
    for cut in range(3, len(name) - 2):
        first, last = name[:cut], name[cut:]
        parted = last in _TAILS or (anywhere and lexicon.counts(last).noun > 0)
        if parted and lexicon.counts(first).noun > 0:
            yield Compound((first, last), name, speech.NOUN)

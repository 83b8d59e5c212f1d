"""Parts of speech of a whole batch: a first guess per word, then rules that look at neighbours.

Every rule is one masked assignment over all tokens of the batch, as in a Brill tagger, but written
by hand: captions have few patterns ("A man rides", "parked cars", "two dogs run"), and a rule can
say in a name why a word was read the way it was.
"""

from collections.abc import Callable
from typing import Final

import numpy as np

# Parts of speech, one bit each, so that one test asks for several.
BREAK: Final = 1 << 0  # sentence end, start and end of a caption
COMMA: Final = 1 << 1
DET: Final = 1 << 2
POSS: Final = 1 << 3  # his, their
PREP: Final = 1 << 4
CONJ: Final = 1 << 5
PRON: Final = 1 << 6
NUM: Final = 1 << 7
BE: Final = 1 << 8
HAVE: Final = 1 << 9
MODAL: Final = 1 << 10  # can, will, do
TO: Final = 1 << 11
NOT: Final = 1 << 12
ADV: Final = 1 << 13
REL: Final = 1 << 14  # who, which, that
NOUN: Final = 1 << 15
VERB: Final = 1 << 16  # finite or infinitive
VING: Final = 1 << 17
VED: Final = 1 << 18  # past or participle
ADJ: Final = 1 << 19
OTHER: Final = 1 << 20

# What a word can be, and what is known of it.
F_N: Final = 1 << 0
F_NS: Final = 1 << 1  # plural noun
F_V: Final = 1 << 2  # infinitive
F_VS: Final = 1 << 3  # third person
F_VG: Final = 1 << 4  # -ing
F_VD: Final = 1 << 5  # past or participle
F_A: Final = 1 << 6
F_R: Final = 1 << 7
ANIMATE: Final = 1 << 8
SEVERAL: Final = 1 << 9  # takes a plural verb though singular in form: people, couple
MATERIAL: Final = 1 << 10
COLOR: Final = 1 << 11
VERBAL: Final = 1 << 12  # more often verb than noun
STRONGLY_VERBAL: Final = 1 << 13  # far more often
NOMINAL: Final = 1 << 14  # an -ing or -ed form that is mostly a noun or adjective
OWNER: Final = 1 << 15  # ends in 's
AMBIVALENT: Final = 1 << 16  # not much more often noun than verb

_OPENS_NOUN: Final = DET | POSS | NUM | ADJ
_AFTER_VERB: Final = DET | POSS | PREP | ADV | PRON | NUM | TO | VING | BREAK | COMMA | CONJ | ADJ
_SUBJECT: Final = NOUN | PRON | REL

PAD: Final = 2
"""Break tokens before the first and after the last token, so that every token has neighbours."""


Settle = Callable[["Window"], np.ndarray]


def tag_words(first_guess: np.ndarray, features: np.ndarray, settle: Settle) -> np.ndarray:
    """Return the part of speech of each token, uint32 [n].

    Args:
        first_guess: uint32 [n], the word's likeliest part of speech.
        features: uint32 [n], `F_*` and the flags after them.
        settle: reads some words once and for all, before the rules; returns which, bool [n].
    """
    tags = np.full(len(first_guess) + 2 * PAD, BREAK, np.uint32)
    known = np.zeros(len(features) + 2 * PAD, np.uint32)
    tags[PAD:-PAD], known[PAD:-PAD] = first_guess, features
    window = Window(tags, known)
    settled = np.flatnonzero(settle(window))
    readings = window.t[settled]
    for rule in RULES:
        rule(window)
        window.t[settled] = readings
    return tags[PAD:-PAD]


class Window:
    """Views of every token (`t`), its neighbours' tags and features: all change with the tags."""

    def __init__(self, tags: np.ndarray, features: np.ndarray) -> None:
        size = len(tags) - 2 * PAD
        self.t = tags[PAD : PAD + size]
        self.f = features[PAD : PAD + size]
        self.prev, self.prev2 = tags[1 : 1 + size], tags[:size]
        self.next, self.next2 = tags[3 : 3 + size], tags[4:]
        self.prev_f, self.next_f = features[1 : 1 + size], features[3 : 3 + size]
        self.prev2_f = features[:size]

    def has(self, features: int) -> np.ndarray:
        """Tell which tokens have one of the features."""
        return (self.f & features) != 0

    def set(self, mask: np.ndarray, tag: int) -> None:
        """Give the tag where the mask holds."""
        self.t[mask] = tag


def _in(tags: np.ndarray, wanted: int) -> np.ndarray:
    return (tags & wanted) != 0


def adverb_is_transparent(w: Window) -> tuple[np.ndarray, np.ndarray]:
    """Return tag and features of the word before, looking past one adverb."""
    past = _in(w.prev, ADV)
    return np.where(past, w.prev2, w.prev), np.where(past, w.prev2_f, w.prev_f)


def infinitives(w: Window) -> None:
    """ "to catch", "can fly", "does not bite"; "to school" stays a noun."""
    after_to = _in(w.prev, TO) & (w.has(VERBAL) | ~w.has(F_N))
    after_modal = _in(w.prev, MODAL) | (_in(w.prev, NOT) & _in(w.prev2, MODAL | TO))
    w.set(w.has(F_V) & _in(w.t, NOUN | VERB | ADJ) & (after_to | after_modal), VERB)


def nouns_after_determiners(w: Window) -> None:
    """ "a run", "the watch", "his catch"."""
    could = _in(w.t, VERB | VED) & w.has(F_N | F_NS) & _in(w.prev, DET | POSS | ADJ)
    w.set(could & ~_in(w.next, NOUN | ADJ), NOUN)


def gerunds_that_are_things(w: Window) -> None:
    """ "a building", "a painting of"; but "a man building a wall"."""
    opened = _in(w.prev, _OPENS_NOUN | PREP | BREAK | COMMA) & ~_in(w.next, DET | POSS | PRON)
    w.set(_in(w.t, VING) & w.has(NOMINAL) & opened, NOUN)
    after_thing = _in(w.prev, NOUN) & ((w.prev_f & ANIMATE) == 0) & _in(w.next, BREAK | COMMA)
    w.set(_in(w.t, VING) & w.has(NOMINAL) & after_thing, NOUN)
    object_follows = _in(w.prev, NOUN | BE) & _in(w.next, DET | POSS | PRON) & w.has(F_VG)
    w.set(_in(w.t, NOUN) & object_follows, VING)


def adjectives_before_nouns(w: Window) -> None:
    """ "orange cat", "light jacket", "orange and white cat"."""
    could = _in(w.t, NOUN | VERB | ADV) & w.has(F_A)
    before = _in(w.next, NOUN | ADJ) & ~_in(w.prev, NOUN)
    joined = _in(w.next, CONJ | COMMA) & _in(w.next2, ADJ)
    predicate = _in(w.prev, BE) & _in(w.next, BREAK | COMMA | CONJ | PREP)
    w.set(could & (before | (joined & w.has(COLOR)) | predicate), ADJ)
    worn = _in(w.prev, PREP) & w.has(COLOR) & _in(w.next, BREAK | COMMA | CONJ | PREP)
    w.set(could & worn, ADJ)


def adjectives_that_are_things(w: Window) -> None:
    """ "in the dark", "a blond"; "the bear is brown" stays an adjective."""
    listed = _in(w.next, CONJ | COMMA) & _in(w.next2, ADJ)
    alone = _in(w.prev, DET | POSS | ADJ | NOUN) & ~_in(w.next, NOUN | ADJ) & ~listed
    w.set(_in(w.t, ADJ) & w.has(F_N) & alone & ~w.has(COLOR), NOUN)


def third_person(w: Window) -> None:
    """ "a man rides a horse", "a dog runs"; "ski runs" without an animate subject stays a noun."""
    before, before_f = adverb_is_transparent(w)
    could = _in(w.t, NOUN) & w.has(F_VS) & _in(w.next, _AFTER_VERB | NOUN)
    animate = (before_f & ANIMATE) != 0
    after_noun = _in(before, NOUN) & (
        w.has(STRONGLY_VERBAL)
        | (w.has(VERBAL) & (animate | _in(w.next, DET | POSS | PRON | ADV)))
        | (animate & _in(w.next, DET | POSS | PRON))
        | (animate & ~w.has(F_NS))
    )
    in_red = _in(before, ADJ) & ((before_f & COLOR) != 0) & w.has(STRONGLY_VERBAL)
    in_red &= _in(w.next, PREP | ADV | DET | POSS)
    w.set(could & (after_noun | in_red | _in(before, PRON | REL)), VERB)


def plural_subjects(w: Window) -> None:
    """ "two dogs run", "people walk down a street", "children who play"."""
    before, before_f = adverb_is_transparent(w)
    could = _in(w.t, NOUN | ADJ) & w.has(F_V) & _in(w.next, _AFTER_VERB | NOUN)
    several = _in(before, NOUN) & ((before_f & (F_NS | SEVERAL)) != 0)
    animate = (before_f & ANIMATE) != 0
    likely = w.has(VERBAL) | (animate & _in(w.next, DET | POSS | PRON | PREP | ADV))
    one = _in(before, NOUN) & animate & w.has(STRONGLY_VERBAL) & ~_in(w.next, NOUN | BREAK)
    w.set(could & ((several & likely) | one | _in(before, PRON | REL)), VERB)


def joined_verbs(w: Window) -> None:
    """ "sits and looks at", "run and play"."""
    could = _in(w.t, NOUN) & w.has(F_V | F_VS) & w.has(VERBAL) & _in(w.next, _AFTER_VERB)
    after = _in(w.prev, CONJ) & _in(w.prev2, VERB | ADV | VING | VED)
    w.set(could & after, VERB)
    second = _in(w.prev, CONJ | COMMA) & w.has(STRONGLY_VERBAL)
    w.set(could & second & _in(w.next, DET | POSS | PREP | PRON | ADV), VERB)


def verbless_sentences(w: Window) -> None:
    """ "a dog barks at", "a sailor kisses a nurse": someone acts, and nothing else is a verb."""
    sentence = np.cumsum(_in(w.t, BREAK))
    verbs = np.bincount(sentence, _in(w.t, VERB | BE | HAVE | MODAL))
    animate = np.cumsum(_in(w.t, NOUN) & w.has(ANIMATE))
    before_sentence = np.maximum.accumulate(np.where(_in(w.t, BREAK), animate, 0))
    acted = (animate - (_in(w.t, NOUN) & w.has(ANIMATE)) - before_sentence) > 0
    could = _in(w.t, NOUN) & w.has(F_VS) & w.has(AMBIVALENT) & _in(w.prev, NOUN | ADJ | ADV | VING)
    could &= _in(w.next, DET | POSS | PRON | PREP | ADV) & acted & (verbs[sentence] == 0)
    # The first of several such words in a sentence.
    count = np.cumsum(could)
    earlier = count - could - np.maximum.accumulate(np.where(_in(w.t, BREAK), count - could, 0))
    w.set(could & (earlier == 0), VERB)
    w.set(_in(w.t, NOUN) & w.has(F_VS) & _in(w.prev, NOUN) & _in(w.next, PRON), VERB)


def participles(w: Window) -> None:
    """ "a car parked on", "is parked": a verb, not an adjective, after its noun."""
    could = _in(w.t, ADJ | VERB) & w.has(F_VD) & ~w.has(NOMINAL)
    w.set(could & _in(w.prev, NOUN | BE) & _in(w.next, PREP | BREAK | ADV | COMMA), VED)


RULES = (
    adjectives_before_nouns,
    infinitives,
    nouns_after_determiners,
    gerunds_that_are_things,
    third_person,
    plural_subjects,
    joined_verbs,
    verbless_sentences,
    adjectives_that_are_things,
    participles,
)
"""In the order in which they apply."""

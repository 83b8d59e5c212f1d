"""What one word can be, by itself: parts of speech, lemmas, and how sure each of them is."""

from dataclasses import dataclass

from ram_ray.labels.lexicon import Lexicon
from ram_ray.labels.parser import speech
from ram_ray.labels.parser.function_words import (
    COLORS,
    FUNCTION_WORDS,
    MATERIALS,
    SEVERAL,
)
from ram_ray.labels.parser.inflection import (
    Known,
    adj_lemmas,
    noun_lemmas,
    spellings,
    verb_lemmas,
)
from ram_ray.labels.parser.typos import correct

STRONG = 3.0
"""A word this many times more often a verb than a noun is STRONGLY_VERBAL."""
AMBIVALENT = 4
"""A word at most this many times more often a noun than a verb may be either: "kiss"."""
SOLELY = 8
"""A word this many times more often a noun than a verb is never read as a verb: "man"."""
ADJECTIVAL = 4
"""A word this many times more often a noun than an adjective is no adjective: "uniform"."""
NOMINAL_SHARE = 20
"""An -ing form met as a noun more often than 1/20 of all forms of its verb may be a thing."""


@dataclass(frozen=True, slots=True)
class Word:
    """One distinct segment of text."""

    form: str
    """As matched: folded, without quotes around it and without 's."""
    guess: int
    """A part of speech of `speech`; 0 for a gap that says nothing."""
    features: int
    nouns: tuple[str, ...] = ()
    """Lemmas as a noun, the likeliest first; so for the others."""
    verbs: tuple[str, ...] = ()
    adjs: tuple[str, ...] = ()
    cut_left: int = 0
    cut_right: int = 0
    """Characters of the segment that are not of the word: quotes, 's."""
    num_words: int = 1


def read_word(form: str, lexicon: Lexicon, known: Known) -> Word:
    """Return what a word can be; `known` tells which names the vocabulary has besides."""
    if form in FUNCTION_WORDS:
        counts = lexicon.counts(form)  # for the rare other reading: "a can", "people like"
        nouns = (form,) if counts.noun > 0 or known(form) else ()
        verbs = (form,) if counts.verb > 0 else ()
        return Word(form, FUNCTION_WORDS[form], 0, nouns, verbs)
    if form[0].isdigit() or "\x7f" in form:
        return Word(form, speech.NUM if form[0].isdigit() else speech.OTHER, 0)
    return _read_open(form, lexicon, known)


def _read_open(form: str, lexicon: Lexicon, known: Known) -> Word:
    counts = lexicon.counts
    nouns = noun_lemmas(form, lexicon, known)
    verbs = verb_lemmas(form, lexicon)
    adjs = adj_lemmas(form, lexicon)
    is_noun = counts(nouns[0]).noun >= 0
    noun = max(counts(nouns[0]).noun, counts(form).noun) if is_noun else -1
    verb = max((counts(lemma).verb for lemma in verbs), default=-1)
    adj = max((counts(lemma).adj for lemma in adjs), default=-1)
    if form in COLORS and adj < 0:
        adjs, adj = [form], 1
    if not (is_noun or verbs or adjs):
        if counts(form).adv >= 0:
            return Word(form, speech.ADV, speech.F_R)
        return _read_unknown(form, lexicon, known, nouns)
    features = _noun_features(form, nouns, lexicon) if is_noun else 0
    if noun > SOLELY * max(verb, 1) or form in COLORS:
        verbs = [lemma for lemma in verbs if lemma != form and not form.endswith("s")]
    features |= _verb_features(form, verbs)
    if form not in COLORS and is_noun and noun > ADJECTIVAL * max(adj, 0):
        adjs, adj = [], -1
    features |= (speech.F_A if adjs else 0) | (speech.COLOR if form in COLORS else 0)
    if verb * AMBIVALENT > noun:
        features |= speech.AMBIVALENT
    if verb > noun:
        features |= speech.VERBAL
        if verb > STRONG * max(noun, 1) or not is_noun:
            features |= speech.STRONGLY_VERBAL
    if features & speech.F_VG and counts(form).noun * NOMINAL_SHARE > max(verb, 0):
        features |= speech.NOMINAL
    if features & speech.F_VD and max(counts(form).noun, counts(form).adj) > max(verb, 0):
        features |= speech.NOMINAL
    guess = _guess(form, features, noun, verb, adj, counts(form).noun)
    if counts(form).adv > max(noun, verb, adj):
        guess = speech.ADV
    return Word(form, guess, features, tuple(nouns), tuple(verbs), tuple(adjs))


def _noun_features(form: str, nouns: list[str], lexicon: Lexicon) -> int:
    features = speech.F_NS if nouns[0] != form else speech.F_N
    if lexicon.noun_category(nouns[0]) in ("person", "animal", "group"):
        features |= speech.ANIMATE
    if form in SEVERAL:
        features |= speech.SEVERAL | speech.ANIMATE
    if form in MATERIALS:
        features |= speech.MATERIAL
    return features


def _verb_features(form: str, verbs: list[str]) -> int:
    if not verbs:
        return 0
    features = 0
    if form in verbs:
        features |= speech.F_V
    if any(lemma != form for lemma in verbs):
        if form.endswith("ing"):
            features |= speech.F_VG
        elif form.endswith("s") and not form.endswith("ss"):
            features |= speech.F_VS
        else:
            features |= speech.F_VD
    return features


def _guess(form: str, features: int, noun: int, verb: int, adj: int, own_noun: int) -> int:
    """Return the likeliest part of speech without a look at the neighbours."""
    if features & speech.F_VG:
        return speech.NOUN if own_noun > max(verb, 0) else speech.VING
    if features & speech.F_VD:
        if adj > verb or verb < 0:
            return speech.ADJ if adj >= noun else speech.NOUN
        return speech.NOUN if noun > verb else speech.VED
    if features & speech.F_A and (adj > noun or form in COLORS):
        return speech.ADJ
    if features & (speech.F_N | speech.F_NS):
        return speech.NOUN
    if features & speech.F_V or features & speech.F_VS:
        return speech.VERB
    return speech.ADJ if features & speech.F_A else speech.OTHER


_ADJECTIVE_ENDS = ("ish", "ful", "less", "ous", "able", "ible", "shaped", "sized", "free", "proof")


def _read_unknown(form: str, lexicon: Lexicon, known: Known, nouns: list[str]) -> Word:
    """Read a word that the lexicon does not have, by its spelling and its ending."""
    for other in spellings(form):
        if other in lexicon and other != form:
            word = _read_open(other, lexicon, known)
            return Word(form, word.guess, word.features, word.nouns, word.verbs, word.adjs)
    if "-" in form:
        return _read_hyphened(form, lexicon, known)
    if known(form) or known(nouns[0]):
        plural = speech.F_NS if nouns[0] != form else speech.F_N
        return Word(form, speech.NOUN, plural, tuple(nouns))
    for lemma in nouns:
        name = _written_together(lemma, lexicon, known)
        if name:
            plural = speech.F_NS if lemma != form else speech.F_N
            return Word(form, speech.NOUN, plural, (lemma, name))
    if form.endswith("ly") and form[:-2] in lexicon:
        return Word(form, speech.ADV, speech.F_R)
    if form.endswith(_ADJECTIVE_ENDS):
        return Word(form, speech.ADJ, speech.F_A, adjs=(form,))
    if form.endswith("y") and lexicon.counts(form[:-1]).noun >= 0:
        return Word(form, speech.ADJ, speech.F_A, adjs=(form,))
    if form.startswith("un") and form[2:] in lexicon:
        return Word(form, speech.ADJ, speech.F_A, adjs=(form,))
    return _read_misspelt(form, lexicon, known, nouns)


def _written_together(lemma: str, lexicon: Lexicon, known: Known) -> str:
    """Return the name of two words that a word joins: "clocktower" is a clock tower."""
    for cut in range(3, len(lemma) - 2):
        name = f"{lemma[:cut]} {lemma[cut:]}"
        if known(name) or lexicon.counts(name).noun >= 0:
            return name
    return ""


def _read_misspelt(form: str, lexicon: Lexicon, known: Known, nouns: list[str]) -> Word:
    for lemma in nouns:  # "tabels" is a slip in "tabel"
        meant = correct(lemma, lexicon, known)
        if meant and meant in lexicon:
            word = _read_open(meant, lexicon, known)
            return Word(form, word.guess, word.features, word.nouns, word.verbs, word.adjs)
        if meant:
            return Word(form, speech.NOUN, speech.F_N, (meant, *nouns))
    plural = speech.F_NS if nouns[0] != form else speech.F_N
    return Word(form, speech.NOUN, plural, tuple(nouns))


def _read_hyphened(form: str, lexicon: Lexicon, known: Known) -> Word:
    """ "close-up" is a name of the vocabulary; "red-haired" an adjective; "tree-house" a noun."""
    spaced = form.replace("-", " ")
    if spaced in lexicon or known(spaced):
        features = speech.F_N
        if lexicon.noun_category(spaced) in ("person", "animal", "group"):
            features |= speech.ANIMATE
        return Word(form, speech.NOUN, features, (spaced, form))
    last = form.rsplit("-", 1)[-1]
    tail = read_word(last, lexicon, known) if last else None
    if tail is None or tail.guess != speech.NOUN or tail.features & speech.F_VD:
        return Word(form, speech.ADJ, speech.F_A, adjs=(form,))
    noun = f"{form.rsplit('-', 1)[0]}-{tail.nouns[0]}"
    return Word(form, speech.NOUN, tail.features & ~speech.F_A, (noun, *tail.nouns), (), (form,))

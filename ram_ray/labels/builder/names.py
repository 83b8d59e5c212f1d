"""Names of tags as people and lists write them, and the forms under which two are the same."""

import re
import unicodedata
from typing import NamedTuple

from ram_ray.labels.lexicon import Lexicon
from ram_ray.labels.parser.inflection import noun_lemmas, verb_lemmas

MAX_CHARS = 60
MAX_WORDS = 6
_QUALIFIER = re.compile(r"\s*\(([^()]*)\)\s*")
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")
# What a name is made of; a comma or a slash means that a line holds something else
_ALLOWED = re.compile(r"[\w\s.'&+\-()!]+")

_PLAIN = str.maketrans({"_": " ", "\u2018": "'", "\u2019": "'", "\u2010": "-", "\u2013": "-"})


class BadNameError(ValueError):
    """A text is no name of a tag; the message says why."""


class Name(NamedTuple):
    """A name without list-specific spelling: `bat_(animal)` is "bat", qualified by "animal"."""

    text: str
    qualifier: str = ""

    @property
    def full(self) -> str:
        """The name with its qualifier, if it has one."""
        return f"{self.text} ({self.qualifier})" if self.qualifier else self.text


def clean(raw: str) -> Name:
    """Return the name in a list's entry: underscores become spaces, a qualifier is split off.

    Raises:
        BadNameError: empty, too long, not in Latin script, or with characters no name has.
    """
    text = " ".join(unicodedata.normalize("NFKC", raw).translate(_PLAIN).split())
    if not text:
        raise BadNameError("is empty")
    if len(text) > MAX_CHARS or text.count(" ") >= MAX_WORDS:
        limits = f"more than {MAX_CHARS} characters or {MAX_WORDS} words"
        raise BadNameError(f"holds {text[:30]!r}..., {limits}, which is no name of a tag")
    if not _LATIN.search(text):
        raise BadNameError(f"holds {text!r}, which has no Latin letter")
    if not _ALLOWED.fullmatch(text):
        odd = next(char for char in text if not _ALLOWED.fullmatch(char))
        raise BadNameError(f"holds {text!r} with {odd!r}, which stands in no name of a tag")
    qualifiers = _QUALIFIER.findall(text)
    bare = " ".join(_QUALIFIER.sub(" ", text).split())
    if not _LATIN.search(bare):
        raise BadNameError(f"holds {text!r}, which is only a qualifier")
    return Name(bare, qualifiers[0].strip().casefold() if qualifiers else "")


def fold(text: str) -> str:
    """Return the form under which names are looked up: lower case, hyphens as spaces."""
    text = text.casefold().replace("-", " ").replace("'", "")
    return " ".join(text.split())


def joined(text: str) -> str:
    """Return the folded name without spaces: "sail boat", "sail-boat" and "sailboat" are one."""
    return fold(text).replace(" ", "")


def singular(folded: str, lexicon: Lexicon) -> str:
    """Return a folded noun with its head in the singular: "glasses of wine", "fire trucks".

    The head is the last word, or the one before "of". A plural that is better known than its
    singular stays: "shorts", "sunglasses".
    """
    words = folded.split()
    head = next((at - 1 for at, word in enumerate(words) if word == "of" and at > 0), -1)
    words[head] = noun_lemmas(words[head], lexicon)[0]
    other = " ".join(words)
    is_known_better = lexicon.counts(folded).noun > lexicon.counts(other).noun
    return folded if len(words) > 1 and is_known_better else other


def infinitive(folded: str, lexicon: Lexicon) -> str:
    """Return a folded action with its verb, the first word, as infinitive: "sitting on"."""
    first, *rest = folded.split()
    lemmas = verb_lemmas(first, lexicon)
    return " ".join([lemmas[0] if lemmas else first, *rest])


def gerund(verb: str, lexicon: Lexicon) -> str:
    """Return the -ing form of a verb or phrasal verb: "sit on" becomes "sitting on"."""
    first, *rest = verb.split()
    silent_e = first.endswith("e") and not first.endswith(("ee", "ye", "oe"))
    stem = first[:-2] + "y" if first.endswith("ie") else first[:-1] if silent_e else first
    # "sit", "run": one vowel before one consonant is doubled where the lexicon knows no other verb
    doubled = re.search(r"^[^aeiou]*[aeiou][bdgklmnprt]$", first)
    forms = [stem + first[-1] + "ing"] if doubled else [stem + "ing"]
    forms += [first + first[-1] + "ing", first + "ing"]
    form = next((form for form in forms if verb_lemmas(form, lexicon)[:1] == [first]), forms[0])
    return " ".join([form, *rest])

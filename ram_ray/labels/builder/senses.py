"""What a noun means in a picture: its senses in the lexicon, weighed by how often it has them."""

from functools import cache

from ram_ray.labels.builder.candidates import Candidate
from ram_ray.labels.builder.names import fold
from ram_ray.labels.lexicon import Lexicon

LIST_SHARE = 0.4
"""Of a word's use that must be in the sense an image list gives it; see `Lexicon.sense_share`."""
LEXICON_SHARE = 0.6
"""The same for two words that only the lexicon joins."""
_EXTRA = 3  # of `Lexicon.sense_share`: two meetings against none are no reason to merge
# Categories of senses that no picture shows: left out when weighing what a word means in a caption.
UNSEEN = frozenset(
    "attribute cognition communication feeling motive process quantity relation shape state "
    "time".split()
)


def sense_of(candidate: Candidate, lexicon: Lexicon) -> int | None:
    """Return what a noun means in pictures: a list's word for it, else its commonest visible sense.

    Good enough to tell a kind and what stands above; merging asks `main_sense`.
    """
    if candidate.key.part != "noun":
        return None
    noun = lexicon_form(candidate.key.text, lexicon)
    senses = lexicon.senses(noun)
    votes = [synset for synset in candidate.synsets if not senses or synset in senses]
    visible = [synset for synset in senses if lexicon.category(synset) not in UNSEEN]
    # the most lists, the largest share, then the lowest number, so that builds do not differ
    return min(
        votes or visible,
        key=lambda s: (-candidate.synsets[s], -lexicon.sense_share(noun, s), s),
        default=None,
    )


def main_sense(noun: str, lexicon: Lexicon) -> int | None:
    """Return the sense that most visible uses of a noun have; None where none stands out."""
    senses = [s for s in lexicon.senses(noun) if lexicon.category(s) not in UNSEEN]
    if not senses:
        return None
    best = max(senses, key=lambda synset: lexicon.sense_share(noun, synset))
    counts = lexicon.counts(noun)
    if counts.noun < max(counts.verb, counts.adj):
        return None  # "wild": a noun too, but seldom
    return best if visible_share(noun, best, lexicon) >= LEXICON_SHARE else None


def visible_share(noun: str, synset: int, lexicon: Lexicon) -> float:
    """Return how much of a noun's visible use has this sense; 0 where it is seldom seen at all."""
    share = lexicon.sense_share(noun, synset, extra=_EXTRA)
    visible = sum(
        lexicon.sense_share(noun, s, extra=_EXTRA)
        for s in lexicon.senses(noun)
        if s == synset or lexicon.category(s) not in UNSEEN
    )
    return share / visible if share >= 0.4 else 0.0


def means(noun: str, synset: int | None, lexicon: Lexicon, least: float = LIST_SHARE) -> bool:
    """Tell whether a noun mostly means this; one the lexicon does not know may mean anything."""
    known = lexicon_form(noun, lexicon)
    senses = lexicon.senses(known)
    if not senses:
        return True
    if synset is None:
        return len(senses) == 1
    counts = lexicon.counts(known)
    is_mostly_noun = counts.noun >= max(counts.verb, counts.adj)
    return is_mostly_noun and visible_share(known, synset, lexicon) >= least


def lexicon_form(noun: str, lexicon: Lexicon) -> str:
    """Return the spelling under which the lexicon has a folded noun: "go cart" is "go-cart"."""
    if lexicon.senses(noun):
        return noun
    joined_noun = noun.replace(" ", "")
    if lexicon.senses(joined_noun):
        return joined_noun
    return _marked_nouns(lexicon).get(noun, noun)


@cache
def _marked_nouns(lexicon: Lexicon) -> dict[str, str]:
    """Return the nouns with a hyphen or an apostrophe by their folded form."""
    return {fold(noun): noun for noun in lexicon.nouns() if "-" in noun or "'" in noun}

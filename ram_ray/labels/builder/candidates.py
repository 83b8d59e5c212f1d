"""Candidates for tags: what lists name and captions say, gathered under one spelling.

A candidate is a word in one part of speech, so that "fish" the animal and "fish" the action are
two. Nothing is merged here but case, hyphens and inflection of the same word.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import NamedTuple

from ram_ray.labels.builder.lists import Entry, SourceList
from ram_ray.labels.builder.names import Name, fold, infinitive, joined, singular
from ram_ray.labels.lexicon import Lexicon

CAPTIONS = "captions"
"""Source name of what captions say."""
PART_OF_KIND = {"object": "noun", "scene": "noun", "attribute": "adj", "action": "verb"}


class Key(NamedTuple):
    """Identity of a candidate before merging."""

    text: str
    """Folded: lower case, no hyphens, singular or infinitive."""
    part: str
    """noun, adj or verb."""


@dataclass
class Candidate:
    """What is known of one key; filled while the sources are read."""

    key: Key
    surfaces: Counter[str] = field(default_factory=Counter)
    """Spellings, each with how many lists and captions have it."""
    lists: dict[str, int] = field(default_factory=dict)
    """List name to the line of its entry."""
    num_covered: int = 0
    """Lists to cover that have it."""
    kinds: Counter[str] = field(default_factory=Counter)
    """Kind to how many lists and captions say so."""
    synsets: Counter[int] = field(default_factory=Counter)
    """Senses that lists give it."""
    parents: set[str] = field(default_factory=set)
    """Names that lists put above it."""
    frequency: int = 0
    """Captions that say it; one that says two of its forms counts twice."""
    accepted: bool = False
    """By a person: no rule drops it."""
    accepted_kind: str = ""
    """The kind that a person gave it; "" for none."""
    chosen: bool = False
    """A person's name for the tag: it stays the head of its cluster."""


class Pair(NamedTuple):
    """Two names of one entry of a list: a claim that they mean the same."""

    name: Key
    alias: Key
    alias_surface: str
    source: str
    line: int
    synset: int | None
    """The lexicon's synset of the entry, where it can be told."""
    from_wordnet: bool
    """Whether the list gives the synset, so that its names are WordNet's and as noisy."""


@dataclass
class Gathered:
    """All candidates, and the claims of the lists about them."""

    candidates: dict[Key, Candidate] = field(default_factory=dict)
    pairs: list[Pair] = field(default_factory=list)
    concept_lists: set[str] = field(default_factory=set)
    """Lists whose entries are distinct concepts, so that they keep synonyms apart."""

    keys_of_list: dict[str, list[Key]] = field(default_factory=dict)
    """List name to the key of each entry, in its order."""

    def of(self, key: Key) -> Candidate:
        """Return the candidate of a key, a new one if there is none."""
        return self.candidates.setdefault(key, Candidate(key))


def gather(
    lists: Sequence[SourceList], discovered: Mapping[tuple[str, str], int], lexicon: Lexicon
) -> Gathered:
    """Return the candidates of lists and captions.

    Args:
        discovered: (name, kind) to the number of captions that say so.
    """
    gathered = Gathered()
    for (name, kind), frequency in sorted(discovered.items()):
        candidate = gathered.of(key_of(name, PART_OF_KIND[kind], lexicon))
        candidate.surfaces[name] += frequency
        candidate.kinds[kind] += frequency
        candidate.frequency += frequency
    # lists that tell the kind of their entries first: they help with the others
    for source in sorted(lists, key=lambda source: (not source.tells_kinds, source.name)):
        _add_list(gathered, source, lexicon)
    return gathered


@lru_cache(maxsize=200_000)
def key_of(text: str, part: str, lexicon: Lexicon) -> Key:
    """Return the key of a name used as this part of speech."""
    folded = fold(text)
    if part == "verb":
        return Key(infinitive(folded, lexicon), part)
    return Key(singular(folded, lexicon) if part == "noun" else folded, part)


def _add_list(gathered: Gathered, source: SourceList, lexicon: Lexicon) -> None:
    ambiguous = _ambiguous(source)
    keys: Counter[tuple[str, str]] = Counter()
    own_keys: list[Key] = []
    upper = sum(entry.names[0].text[:1].isupper() for entry in source.entries)
    capitalised = upper > 0.8 * len(source.entries)  # as OpenImages: "Aircraft engine"
    # before any entry is added, so that the order within a list does not matter
    parts = {(e.line, e.kind): _part_of(e, gathered, lexicon) for e in source.entries}
    for entry in source.entries:
        names = [name.full if name.text in ambiguous else name.text for name in entry.names]
        part = parts[entry.line, entry.kind]
        if not source.cover and part == "noun":
            # "hog, pig": such a list only speaks for words, so the commonest speaks first
            names.sort(key=lambda name: -_count_in(name, entry.synset, lexicon))
        own, *others = [key_of(name, part, lexicon) for name in names]
        keys[joined(own.text), own.part] += 1
        own_keys.append(own)
        synset = entry.synset if entry.synset is not None else _common_synset(names, lexicon)
        candidate = gathered.of(own)
        candidate.surfaces[_uncapitalised(names[0]) if capitalised else names[0]] += 1
        if source.name not in candidate.lists:
            candidate.lists[source.name] = entry.line
            candidate.num_covered += source.cover
        candidate.parents.update(map(fold, entry.parents))
        if synset is not None and part == "noun":
            candidate.synsets[synset] += 1
        if entry.kind:
            candidate.kinds[entry.kind if PART_OF_KIND.get(entry.kind) == part else ""] += 1
        for other, surface in zip(others, names[1:], strict=True):
            from_wordnet = entry.synset is not None
            gathered.pairs.append(
                Pair(own, other, surface, source.name, entry.line, synset, from_wordnet)
            )
    gathered.keys_of_list[source.name] = own_keys
    repeated = sum(count - 1 for count in keys.values())
    # a list that has "giraffe" and "giraffes" is a list of words, not of concepts
    if repeated <= 0.005 * len(source.entries):
        gathered.concept_lists.add(source.name)


def _uncapitalised(name: str) -> str:
    """Return a name without its first capital, if it is the only one: "3D glasses" stays."""
    return name[:1].lower() + name[1:] if name[1:] == name[1:].lower() else name


def _count_in(name: str, synset: int | None, lexicon: Lexicon) -> float:
    """Return how often WordNet's tagged text has a noun in a sense, about; -1 for no noun."""
    share = 1.0 if synset is None else lexicon.sense_share(fold(name), synset)
    return lexicon.counts(fold(name)).noun * share if share else -1.0


def _ambiguous(source: SourceList) -> set[str]:
    """Return the names that need their qualifier: two entries of the list have them."""
    bare: Counter[str] = Counter(entry.names[0].text for entry in source.entries)
    return {name for name, count in bare.items() if count > 1}


def _common_synset(names: Sequence[str], lexicon: Lexicon) -> int | None:
    """Return the sense that most names of an entry share, when at least two do."""
    votes = Counter(synset for name in names for synset in lexicon.senses(fold(name)))
    best = votes.most_common(1)
    return best[0][0] if best and best[0][1] > 1 else None


def _part_of(entry: Entry, gathered: Gathered, lexicon: Lexicon) -> str:
    """Return the part of speech of an entry: its kind's, corrected by what the word can be."""
    name: Name = entry.names[0]
    folded = fold(name.text)
    if entry.kind == "action":
        return "verb"
    if entry.kind == "attribute":
        counts = lexicon.counts(folded)
        if (
            folded.endswith("ing")
            and counts.adj < 1
            and key_of(folded, "verb", lexicon).text in lexicon
        ):
            return "verb"
        mostly_noun = counts.noun >= 0 and (counts.adj < 0 or counts.noun > 10 * (counts.adj + 1))
        return "noun" if mostly_noun else "adj"  # "metal" is a thing, "wooden" is not
    if entry.kind in PART_OF_KIND:
        return "noun"
    return _guess_part(folded, gathered, lexicon)


# How much commoner than the noun a verb must be in the lexicon for a bare name to be an action.
# Tags are mostly nouns: of the factors tried on Tag2Text's list, whose order tells the kind, this
# was the best (97 % right, 95 % at 1).
_VERB_FACTOR = 4


def _guess_part(folded: str, gathered: Gathered, lexicon: Lexicon) -> str:
    """Return what lists that tell a kind say, or else the lexicon."""
    told = [
        part
        for part in ("noun", "verb", "adj")
        if (found := gathered.candidates.get(key_of(folded, part, lexicon))) is not None
        and found.lists
    ]
    if len(told) == 1:
        return told[0]
    counts = lexicon.counts(folded)
    if " " in folded or max(counts.noun, counts.verb, counts.adj) < 0:
        return _part_of_phrase(folded, lexicon)
    if counts.verb > max(_VERB_FACTOR * (counts.noun + 1) - 1, counts.adj):
        return "verb"
    return "adj" if counts.adj > counts.noun else "noun"


_PARTICLES = frozenset(
    "about across after against around at away back down for from in into off on onto out over "
    "through to together towards under up upon with".split()
)


def _part_of_phrase(folded: str, lexicon: Lexicon) -> str:
    words = folded.split()
    if len(words) > 1 and words[-1] in _PARTICLES and lexicon.counts(words[0]).verb >= 0:
        return "verb"
    return "noun"

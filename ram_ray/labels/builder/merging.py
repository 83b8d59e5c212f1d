"""Which candidates are one tag: one word spelt differently, or synonyms that sources vouch for.

Synonym tables are the lists' own (names of one entry) and the lexicon's. A claim is taken only
where the words mean it most of the time: WordNet alone says that "fry" is a child. Claims that
fail are proposals for a person to decide.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ram_ray.labels.builder.candidates import Candidate, Gathered, Key, Pair
from ram_ray.labels.builder.names import joined
from ram_ray.labels.builder.senses import (
    LEXICON_SHARE,
    LIST_SHARE,
    lexicon_form,
    main_sense,
    means,
    sense_of,
)
from ram_ray.labels.lexicon import Lexicon
from ram_ray.labels.parser.inflection import spellings, verb_lemmas


class Merge(NamedTuple):
    """`alias` is `name`; why, and who says so."""

    name: Key
    alias: Key
    reason: str
    """spelling, gerund, synonym or decision."""
    evidence: str


class Proposal(NamedTuple):
    """Two names that may be one tag, for a person to decide."""

    name: Key
    other: Key
    why: str


@dataclass
class Clusters:
    """Candidates in clusters; each cluster has a head."""

    merges: list[Merge] = field(default_factory=list)
    proposals: list[Proposal] = field(default_factory=list)
    apart: set[frozenset[Key]] = field(default_factory=set)
    """Pairs that a person keeps apart."""
    fixed: frozenset[Key] = frozenset()
    """Keys that stay heads, each of its own cluster: tags of a vocabulary that is given."""
    _head: dict[Key, Key] = field(default_factory=dict)
    _members: dict[Key, list[Key]] = field(default_factory=dict)

    def head(self, key: Key) -> Key:
        """Return the head of a key's cluster; the key itself where it is alone."""
        return self._head.get(key, key)

    def members(self, head: Key) -> list[Key]:
        """Return the keys of a cluster, the head first."""
        return self._members.get(head, [head])

    def join(self, name: Key, alias: Key, reason: str, evidence: str) -> bool:
        """Put the cluster of `alias` into that of `name`, whose head stays.

        Returns whether they are one now: a person's `keep apart` and fixed tags prevent it.
        """
        head, other = self.head(name), self.head(alias)
        if head == other:
            return True
        if other in self.fixed:
            head, other = other, head
        if other in self.fixed or self._are_apart(head, other):
            return False
        self.merges.append(Merge(head, other, reason, evidence))
        moved = self._members.pop(other, [other])
        self._members.setdefault(head, [head]).extend(moved)
        self._head.update(dict.fromkeys(moved, head))
        return True

    def propose(self, name: Key, other: Key, why: str) -> None:
        """Leave it to a person whether the two are one tag."""
        if not self._are_apart(self.head(name), self.head(other)):
            self.proposals.append(Proposal(name, other, why))

    def _are_apart(self, head: Key, other: Key) -> bool:
        return (
            any(
                frozenset((one, two)) in self.apart
                for one in self.members(head)
                for two in self.members(other)
            )
            if self.apart
            else False
        )


def merge_candidates(gathered: Gathered, lexicon: Lexicon, clusters: Clusters) -> None:
    """Fill the clusters, which hold a person's decisions already.

    The order of sources does not matter.
    """
    _merge_spellings(gathered, lexicon, clusters)
    _merge_gerunds(gathered, lexicon, clusters)
    _merge_list_synonyms(gathered, lexicon, clusters)
    _merge_lexicon_synonyms(gathered, lexicon, clusters)


def weight(candidate: Candidate) -> tuple[bool, int, int, int, str]:
    """Return a sort key: a person's choice, more lists to cover, more captions, a shorter name."""
    text = candidate.key.text
    seen = (-candidate.num_covered, -candidate.frequency, len(text), text)
    return (not candidate.chosen, *seen)


def _merge_spellings(gathered: Gathered, lexicon: Lexicon, clusters: Clusters) -> None:
    """Merge what differs in spaces ("sail boat") or across the Atlantic ("grey")."""
    by_joined: dict[tuple[str, str], list[Key]] = defaultdict(list)
    for key in gathered.candidates:
        by_joined[joined(key.text), key.part].append(key)
    for keys in by_joined.values():
        head, *others = sorted(keys, key=lambda key: weight(gathered.candidates[key]))
        for other in others:
            if _may_be_one(head, other, lexicon):
                clusters.join(head, other, "spelling", "the same letters")
    for key in sorted(gathered.candidates):
        for other in sorted(set(_other_spellings(key, lexicon))):
            if other in gathered.candidates:
                head, alias = sorted((key, other), key=lambda k: weight(gathered.candidates[k]))
                clusters.join(head, alias, "spelling", "British and American")


def _may_be_one(one: Key, other: Key, lexicon: Lexicon) -> bool:
    """Tell whether the lexicon allows it: "pumpkin seed" is food, and "pumpkinseed" a fish."""
    senses = [set(lexicon.senses(key.text)) for key in (one, other)]
    return one.part != "noun" or not all(senses) or bool(senses[0] & senses[1])


def _other_spellings(key: Key, lexicon: Lexicon) -> Iterator[Key]:
    words = key.text.split()
    for at, word in enumerate(words):
        for other in spellings(word):
            if joined(other) != joined(word) and _one_word(word, other, key.part, lexicon):
                yield Key(" ".join([*words[:at], other, *words[at + 1 :]]), key.part)


def _one_word(word: str, other: str, part: str, lexicon: Lexicon) -> bool:
    """Tell whether two spellings are of one word, as "tyre" and "tire", not "mummy" and "mommy"."""
    if part == "noun" and word in lexicon and other in lexicon:
        sense = main_sense(word, lexicon)
        if sense is not None and sense == main_sense(other, lexicon):
            return True
        return len(set(lexicon.senses(word)) & set(lexicon.senses(other))) > 1  # "colour"
    # adjectives and verbs have no senses in the lexicon: only a small change of a known word
    return word in lexicon and other in lexicon and abs(len(word) - len(other)) <= 1


def _merge_gerunds(gathered: Gathered, lexicon: Lexicon, clusters: Clusters) -> None:
    """Merge "surfing" into the action "surf"; "building" is a thing, and stays."""
    for key in sorted(gathered.candidates):
        if key.part == "verb" or " " in key.text or not key.text.endswith("ing"):
            continue
        senses = lexicon.senses(key.text)
        is_thing = bool(senses) and lexicon.category(senses[0]) not in ("act", "event")
        if is_thing or (key.part == "adj" and lexicon.counts(key.text).adj > 0):
            continue
        for lemma in verb_lemmas(key.text, lexicon)[:1]:
            verb = Key(lemma, "verb")
            if verb in gathered.candidates and lemma != key.text:
                clusters.join(verb, key, "gerund", "the same action")


def _merge_list_synonyms(gathered: Gathered, lexicon: Lexicon, clusters: Clusters) -> None:
    """Merge names of one entry where each means it most of the time."""
    claims: dict[Key, dict[Key, list[Pair]]] = defaultdict(lambda: defaultdict(list))
    for pair in gathered.pairs:
        if pair.alias in gathered.candidates and pair.name != pair.alias:
            claims[pair.alias][pair.name].append(pair)
    for alias, by_name in sorted(claims.items()):
        fitting = [name for name, pairs in sorted(by_name.items()) if _fits(pairs, lexicon)]
        for name, pairs in sorted(by_name.items()):
            if clusters.head(name) == clusters.head(alias):
                continue
            evidence = ", ".join(f"{pair.source}:{pair.line}" for pair in pairs)
            apart = _kept_apart(name, alias, gathered, clusters)
            if name not in fitting:
                why = f"{evidence} joins them, but one of them mostly means something else"
            elif any(other != name and not _is_one(name, other, clusters) for other in fitting):
                why = f"{evidence} joins them, but other entries have {alias.text!r} too"
            elif len(apart) >= len(pairs):
                why = f"{evidence} joins them, {', '.join(sorted(apart))} keeps them apart"
            else:
                _join_by_weight(name, alias, evidence, gathered, clusters)
                continue
            clusters.propose(name, alias, why)


def _fits(pairs: Iterable[Pair], lexicon: Lexicon) -> bool:
    return any(is_meant(pair, lexicon) for pair in pairs)


def is_meant(pair: Pair, lexicon: Lexicon) -> bool:
    """Tell whether both names of a pair mostly mean the entry's sense."""
    least = LEXICON_SHARE if pair.from_wordnet else LIST_SHARE
    return all(means(key.text, pair.synset, lexicon, least) for key in (pair.name, pair.alias))


def _is_one(name: Key, other: Key, clusters: Clusters) -> bool:
    return clusters.head(name) == clusters.head(other)


def _merge_lexicon_synonyms(gathered: Gathered, lexicon: Lexicon, clusters: Clusters) -> None:
    """Merge nouns whose main sense is the same synset."""
    by_sense: dict[int, list[Key]] = defaultdict(list)
    for key, candidate in gathered.candidates.items():
        if key.part == "noun":
            sense = main_sense(lexicon_form(key.text, lexicon), lexicon)
            if sense is not None and sense == sense_of(candidate, lexicon):
                by_sense[sense].append(key)
    for sense, keys in sorted(by_sense.items()):
        head, *others = sorted(keys, key=lambda key: weight(gathered.candidates[key]))
        for other in others:
            if clusters.head(head) == clusters.head(other):
                continue
            apart = _kept_apart(head, other, gathered, clusters)
            words = ", ".join(lexicon.lemmas(sense)[:4])
            if apart:
                why = f"WordNet joins them ({words}), {', '.join(sorted(apart))} keeps them apart"
                clusters.propose(head, other, why)
            else:
                _join_by_weight(head, other, f"WordNet: {words}", gathered, clusters)


def _join_by_weight(
    name: Key, alias: Key, evidence: str, gathered: Gathered, clusters: Clusters
) -> None:
    ends = (clusters.head(name), clusters.head(alias))
    head, other = sorted(ends, key=lambda key: weight(gathered.candidates[key]))
    clusters.join(head, other, "synonym", evidence)


def _kept_apart(one: Key, other: Key, gathered: Gathered, clusters: Clusters) -> set[str]:
    """Return the concept lists that have an entry for each of the two clusters."""
    ends = (clusters.members(clusters.head(one)), clusters.members(clusters.head(other)))
    lists = [{name for key in keys for name in gathered.candidates[key].lists} for keys in ends]
    return lists[0] & lists[1] & gathered.concept_lists

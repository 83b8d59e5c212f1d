"""Tags out of clusters of candidates: name, kind, aliases, sense, and why they are that."""

from collections import Counter
from dataclasses import dataclass, field
from typing import NamedTuple

from ram_ray.labels.builder.candidates import CAPTIONS, Candidate, Gathered, Key
from ram_ray.labels.builder.merging import Clusters, is_meant
from ram_ray.labels.builder.names import fold, singular
from ram_ray.labels.builder.relations import kind_of, merged_votes
from ram_ray.labels.builder.senses import (
    LEXICON_SHARE,
    lexicon_form,
    main_sense,
    sense_of,
    visible_share,
)
from ram_ray.labels.lexicon import Lexicon


class Alias(NamedTuple):
    """A further name of a tag."""

    text: str
    reason: str
    """spelling, gerund, synonym or decision."""
    evidence: str
    """Who says so, with the line."""


@dataclass
class Tag:
    """One tag of the label system before it has an id."""

    key: Key
    """Head of its cluster; `key.part` is its part of speech."""
    name: str
    kind: str
    aliases: list[Alias] = field(default_factory=list)
    lists: dict[str, int] = field(default_factory=dict)
    """List name to the line of the entry."""
    frequency: int = 0
    """Captions that say it, under any of its names."""
    sense: int | None = None
    """The lexicon's synset."""
    stated_parents: set[str] = field(default_factory=set)
    accepted: bool = False
    """By a person, or fixed: no rule drops it."""

    @property
    def sources(self) -> list[str]:
        """Names of the lists that have it, sorted, and `captions`."""
        return sorted([*self.lists, *([CAPTIONS] if self.frequency else [])])


def assemble(gathered: Gathered, clusters: Clusters, lexicon: Lexicon) -> list[Tag]:
    """Return the tag of every cluster, by key; an alias that two claim is neither's."""
    heads = sorted({clusters.head(key) for key in gathered.candidates})
    reasons = {merge.alias: merge for merge in clusters.merges}
    tags: list[Tag] = []
    for head in heads:
        members = [gathered.candidates[key] for key in clusters.members(head)]
        tag = _tag_of(head, members, lexicon)
        for candidate in members[1:]:
            merge = reasons[candidate.key]
            name = best_surface(candidate)
            tag.aliases.append(Alias(name, merge.reason, merge.evidence))
        tags.append(tag)
    _add_list_aliases(tags, gathered, clusters, lexicon)
    _add_lexicon_aliases(tags, gathered, lexicon)
    for tag in tags:
        taken = {tag.name.casefold()}
        unique = []
        for alias in tag.aliases:
            if alias.text.casefold() not in taken:
                unique.append(alias)
                taken.add(alias.text.casefold())
        tag.aliases = unique
    return tags


def best_surface(candidate: Candidate) -> str:
    """Return the spelling to show: the commonest one in the base form, lower case if there is one.

    A hyphen or an apostrophe of a list is kept, which the folded key has lost.
    """
    fitting = {
        surface: count
        for surface, count in candidate.surfaces.items()
        if fold(surface) == candidate.key.text
    }
    if not fitting:
        return candidate.key.text
    lower: Counter[str] = Counter()
    for surface, count in fitting.items():
        if surface == surface.casefold():
            lower[surface] += count
    best = lower or fitting
    return min(best, key=lambda surface: (-best[surface], surface))


def _tag_of(head: Key, members: list[Candidate], lexicon: Lexicon) -> Tag:
    lists: dict[str, int] = {}
    for candidate in members:
        for name, line in candidate.lists.items():
            lists.setdefault(name, line)
    sense = next((s for s in (sense_of(one, lexicon) for one in members) if s is not None), None)
    votes = merged_votes([candidate.kinds for candidate in members])
    given = next((one.accepted_kind for one in members if one.accepted_kind), "")
    return Tag(
        key=head,
        name=best_surface(members[0]),
        kind=given or kind_of(head.part, votes, _sense_for_kind(head, sense, lexicon), lexicon),
        accepted=any(one.accepted for one in members),
        lists=lists,
        frequency=sum(candidate.frequency for candidate in members),
        sense=sense,
        stated_parents=set().union(*(candidate.parents for candidate in members)),
    )


def _sense_for_kind(head: Key, sense: int | None, lexicon: Lexicon) -> int | None:
    """Return the sense, or that of the last word: a "mountain landscape" is a landscape."""
    if sense is not None or head.part != "noun" or " " not in head.text:
        return sense
    return sense_of(Candidate(Key(head.text.rpartition(" ")[2], "noun")), lexicon)


def _add_list_aliases(
    tags: list[Tag], gathered: Gathered, clusters: Clusters, lexicon: Lexicon
) -> None:
    """Add names that only stand as a second name in a list, where they mostly mean the tag."""
    by_head = {tag.key: tag for tag in tags}
    claims: dict[Key, dict[Key, list[tuple[str, str]]]] = {}
    for pair in gathered.pairs:
        is_new = pair.alias not in gathered.candidates and not lexicon.is_offensive(pair.alias.text)
        if is_new and is_meant(pair, lexicon):
            head = clusters.head(pair.name)
            claim = (pair.alias_surface, f"{pair.source}:{pair.line}")
            claims.setdefault(pair.alias, {}).setdefault(head, []).append(claim)
    for _, heads in sorted(claims.items()):
        if len(heads) > 1:
            continue  # two tags have it: it names neither
        best = next(iter(heads))
        text, evidence = heads[best][0][0], ", ".join(sorted({e for _, e in heads[best]}))
        by_head[best].aliases.append(Alias(text.replace("_", " "), "synonym", evidence))


def _add_lexicon_aliases(tags: list[Tag], gathered: Gathered, lexicon: Lexicon) -> None:
    """Add the lexicon's other words for a tag's sense, where they mostly mean it."""
    taken = {alias.text.casefold() for tag in tags for alias in tag.aliases}
    known = {key.text for key in gathered.candidates}
    by_sense: dict[int, Tag] = {}
    for tag in sorted(tags, key=lambda tag: (-len(tag.lists), -tag.frequency, tag.key)):
        mainly = main_sense(lexicon_form(tag.key.text, lexicon), lexicon)
        if tag.sense is not None and tag.sense == mainly:
            by_sense.setdefault(tag.sense, tag)
    for sense, tag in by_sense.items():
        for word in lexicon.lemmas(sense):
            mostly = visible_share(word, sense, lexicon) >= LEXICON_SHARE
            forms = (word, fold(word), singular(fold(word), lexicon))
            is_new = not any(form in taken or form in known for form in forms)
            is_new = is_new and not lexicon.is_offensive(word)
            if mostly and is_new and main_sense(word, lexicon) == sense:
                tag.aliases.append(Alias(word, "synonym", "WordNet"))
                taken.add(word)

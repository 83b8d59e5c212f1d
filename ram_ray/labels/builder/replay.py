"""Decisions put into force: before candidates are merged, and on the tags that come of it."""

from collections.abc import Sequence
from typing import NamedTuple

from ram_ray.labels.builder.candidates import PART_OF_KIND, Candidate, Gathered, Key, key_of
from ram_ray.labels.builder.decisions import Decision, Named
from ram_ray.labels.builder.merging import Clusters
from ram_ray.labels.builder.names import fold
from ram_ray.labels.builder.selection import Dropped
from ram_ray.labels.builder.tags import Tag
from ram_ray.labels.lexicon import Lexicon


def replay_before_merging(
    decisions: Sequence[Decision], gathered: Gathered, clusters: Clusters, lexicon: Lexicon
) -> list[str]:
    """Accept, merge and keep apart; return a sentence for each of these names no source has.

    What is accepted or merged into becomes a candidate even then: a decision outlives its corpus.
    """
    unknown: list[str] = []
    for decision in decisions:
        if decision.verb == "accept":
            for candidate in _found_or_made(
                decision.name, decision.line, gathered, unknown, lexicon
            ):
                candidate.accepted_kind = decision.name.kind or candidate.accepted_kind
                candidate.accepted = candidate.chosen = True
        if decision.verb == "keep" and decision.other is not None:
            ends = [_keys(name, gathered, lexicon) for name in (decision.name, decision.other)]
            clusters.apart |= {frozenset((one, two)) for one in ends[0] for two in ends[1]}
    for decision in decisions:
        if decision.verb == "merge" and decision.other is not None:
            _merge(decision, decision.other, gathered, clusters, unknown, lexicon)
    return unknown


class Replayed(NamedTuple):
    """What decisions leave of the tags."""

    tags: list[Tag]
    rejected: list[Dropped]
    unknown_names: list[str]


def replay_on_tags(
    decisions: Sequence[Decision], tags: Sequence[Tag], lexicon: Lexicon
) -> Replayed:
    """Take out rejected tags and aliases, and aliases that are to be kept apart."""
    stay: list[Tag] = []
    rejected: list[Dropped] = []
    met: set[Named] = set()
    for tag in tags:
        why = ""
        for decision in decisions:
            if decision.verb == "reject":
                if _is_name_of(decision.name, tag, lexicon):
                    why = f"rejected in line {decision.line} of the decisions"
                    met.add(decision.name)
                elif _drop_alias(decision.name, tag):
                    met.add(decision.name)
            elif decision.verb == "keep" and decision.other is not None:
                for one, other in (
                    (decision.name, decision.other),
                    (decision.other, decision.name),
                ):
                    if _is_name_of(one, tag, lexicon):
                        met.add(one)
                        if _drop_alias(other, tag):
                            met.add(other)
        if why:
            rejected.append(Dropped(tag, why))
        else:
            stay.append(tag)
    unknown = [
        _unknown(name, decision.line)
        for decision in decisions
        if decision.verb in ("reject", "keep")
        for name in (decision.name, decision.other)
        if name is not None and name not in met
    ]
    return Replayed(stay, rejected, unknown)


def _drop_alias(name: Named, tag: Tag) -> bool:
    """Take an alias from a tag and return whether it was there."""
    if name.kind not in ("", tag.kind):
        return False
    left = [alias for alias in tag.aliases if fold(alias.text) != fold(name.text)]
    dropped = len(left) < len(tag.aliases)
    tag.aliases = left
    return dropped


def _merge(
    decision: Decision,
    into: Named,
    gathered: Gathered,
    clusters: Clusters,
    unknown: list[str],
    lexicon: Lexicon,
) -> None:
    targets = {key.part: key for key in _keys(into, gathered, lexicon)}
    aliases = {key.part: key for key in _keys(decision.name, gathered, lexicon)}
    parts = sorted(targets.keys() & aliases.keys())
    if not parts:
        made = _found_or_made(into, decision.line, gathered, unknown, lexicon)
        kind = Named(decision.name.text, decision.name.kind or _kind_of_part(made[0].key.part))
        other = _found_or_made(kind, decision.line, gathered, unknown, lexicon)
        targets, aliases = {"": made[0].key}, {"": other[0].key}
        parts = [""]
    for part in parts:
        gathered.candidates[targets[part]].chosen = True
        clusters.join(targets[part], aliases[part], "decision", f"line {decision.line}")


def _found_or_made(
    name: Named, line: int, gathered: Gathered, unknown: list[str], lexicon: Lexicon
) -> list[Candidate]:
    keys = _keys(name, gathered, lexicon)
    if not keys:
        unknown.append(_unknown(name, line))
        part = PART_OF_KIND.get(name.kind, "noun")
        key = key_of(name.text, part, lexicon)
        gathered.of(key).surfaces[name.text] += 1
        keys = [key]
    return [gathered.candidates[key] for key in keys]


def _keys(name: Named, gathered: Gathered, lexicon: Lexicon) -> list[Key]:
    """Return the candidates a name in a decision means, of any part of speech it leaves open."""
    parts = [PART_OF_KIND.get(name.kind, "noun")] if name.kind else ["noun", "adj", "verb"]
    keys = [key_of(name.text, part, lexicon) for part in parts]
    # without a kind "running" is the verb's form too, but "dressing" must not reject "dress"
    exact = [Key(fold(name.text), part) for part in parts]
    known = [key for key in dict.fromkeys([*exact, *keys[:1]]) if key in gathered.candidates]
    return known or [key for key in dict.fromkeys(keys) if key in gathered.candidates]


def _is_name_of(name: Named, tag: Tag, lexicon: Lexicon) -> bool:
    if name.kind and name.kind != tag.kind:
        return False
    exact = fold(name.text) in (fold(tag.name), tag.key.text)
    return exact or (key_of(name.text, tag.key.part, lexicon) == tag.key and tag.key.part == "noun")


def _kind_of_part(part: str) -> str:
    return next(kind for kind, own in PART_OF_KIND.items() if own == part)


def _unknown(name: Named, line: int) -> str:
    return f"line {line}: no source has {str(name)!r}"

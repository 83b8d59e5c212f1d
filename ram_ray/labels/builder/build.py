"""Build a label system: captions and lists in, a vocabulary with its reasons out.

Read `build_vocabulary` top-down: read, gather, replay decisions, merge, select, number, write.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import pyarrow as pa

from ram_ray.errors import ConfigError
from ram_ray.labels.builder.candidates import Key, gather
from ram_ray.labels.builder.config import BuildConfig
from ram_ray.labels.builder.coverage import NameIndex, coverage_of
from ram_ray.labels.builder.decisions import Decision, read_decisions
from ram_ray.labels.builder.merging import Clusters, Proposal, merge_candidates
from ram_ray.labels.builder.names import fold, gerund
from ram_ray.labels.builder.neighbours import find_neighbours
from ram_ray.labels.builder.output import DECISIONS, VOCABULARY, write_build
from ram_ray.labels.builder.relations import parents_of
from ram_ray.labels.builder.replay import replay_before_merging, replay_on_tags
from ram_ray.labels.builder.result import Build
from ram_ray.labels.builder.selection import select
from ram_ray.labels.builder.sources import CaptionTexts, frequencies, read_lists
from ram_ray.labels.builder.tag_ids import Row, assign_ids, read_old_rows
from ram_ray.labels.builder.tags import Alias, Tag, assemble
from ram_ray.labels.lexicon import Lexicon, load_lexicon
from ram_ray.labels.parser.discovery import discover
from ram_ray.labels.problems import Problem

Discover = Callable[[Iterable[str]], pa.Table]
"""The parser's discovery mode: captions to columns name, kind, frequency."""


def build_vocabulary(config: BuildConfig, discover: Discover = discover) -> Build:
    """Build the label system of a config and write it to its output folder.

    Raises:
        ConfigError: a source or the decisions file cannot be used; nothing was written.
    """
    build = plan_build(config, discover)
    write_build(build, config)
    return build


def plan_build(config: BuildConfig, discover: Discover = discover) -> Build:
    """Return what `build_vocabulary` writes.

    Raises:
        ConfigError: as there.
    """
    lexicon = load_lexicon()
    problems: list[Problem] = []
    decisions = _decisions(config)
    old = read_old_rows(Path(config.output) / VOCABULARY)
    lists = read_lists(config.lists, lexicon, problems.append)
    captions = CaptionTexts(config.captions, problems.append, config.columns)
    gathered = gather(lists, frequencies(discover(captions)), lexicon)

    clusters = Clusters()
    unknown_names = replay_before_merging(decisions, gathered, clusters, lexicon)
    merge_candidates(gathered, lexicon, clusters)
    tags = assemble(gathered, clusters, lexicon)
    replayed = replay_on_tags(decisions, tags, lexicon)
    kept, dropped = select(
        replayed.tags,
        lexicon,
        covered={source.name for source in lists if source.cover},
        min_frequency=config.min_frequency,
        max_tags=config.max_tags,
    )
    if not kept:
        raise ConfigError(
            f"The rules keep none of {len(tags)} candidates{_unread(problems)}: give lists, or "
            "lower min_frequency."
        )
    _tell_apart(kept, lexicon)
    if config.text_encoder is not None:
        _propose_neighbours(kept, config.text_encoder, clusters)
    rows = assign_ids(kept, old)
    index = NameIndex([_names(row) for row in rows], lexicon)
    return Build(
        rows=rows,
        parents=_parents(rows, lexicon),
        dropped=[*replayed.rejected, *dropped],
        proposals=_open_proposals(clusters, kept),
        coverage=[coverage_of(source, index) for source in lists],
        problems=problems,
        unknown_names=[*unknown_names, *replayed.unknown_names],
        num_captions=captions.count,
    )


def _unread(problems: Sequence[Problem]) -> str:
    """Say what could not be read, where there may be nothing else to say."""
    return f" ({len(problems):,} lines give none, such as {problems[0]})" if problems else ""


def _decisions(config: BuildConfig) -> tuple[Decision, ...]:
    default = Path(config.output) / DECISIONS
    if config.decisions is not None:
        return read_decisions(config.decisions)
    return read_decisions(default) if default.exists() else ()


def _tell_apart(tags: Sequence[Tag], lexicon: Lexicon) -> None:
    """Name an action by its -ing form where a thing has its name: "fish" and "fishing"."""
    things = {fold(tag.name) for tag in tags if tag.key.part != "verb"}
    for tag in tags:
        if tag.key.part == "verb" and fold(tag.name) in things:
            form = gerund(tag.name, lexicon)
            if fold(form) not in things:
                tag.aliases = [alias for alias in tag.aliases if alias.text != form]
                tag.aliases.insert(0, Alias(tag.name, "renamed", "another tag has this name"))
                tag.name = form


def _propose_neighbours(tags: Sequence[Tag], text_encoder: str, clusters: Clusters) -> None:
    for pair in find_neighbours([tag.name for tag in tags], text_encoder):
        name, other = tags[pair.row], tags[pair.other]
        why = f"their embeddings are close (cosine {pair.similarity:.2f})"
        clusters.propose(name.key, other.key, why)


def _names(row: Row) -> list[str]:
    if row.tag is None:
        return [row.name]
    return [row.name, *(alias.text for alias in row.tag.aliases)]


def _parents(rows: Sequence[Row], lexicon: Lexicon) -> list[list[int]]:
    return parents_of(
        [row.tag.sense if row.tag is not None else None for row in rows],
        [row.tag.key.text if row.tag is not None else "" for row in rows],
        [row.tag.stated_parents if row.tag is not None else set() for row in rows],
        lexicon,
    )


def _open_proposals(clusters: Clusters, kept: Sequence[Tag]) -> list[Proposal]:
    """Return the proposals between two kept tags, each pair once; the commonest tags first."""
    by_key = {tag.key: tag for tag in kept}
    found: dict[frozenset[Key], Proposal] = {}
    for proposal in clusters.proposals:
        ends = (clusters.head(proposal.name), clusters.head(proposal.other))
        if ends[0] != ends[1] and by_key.keys() >= set(ends):
            found.setdefault(frozenset(ends), proposal)
    rarer = {pair: min(by_key[key].frequency for key in pair) for pair in found}
    return [found[pair] for pair in sorted(found, key=lambda pair: (-rarer[pair], *sorted(pair)))]

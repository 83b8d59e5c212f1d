"""Build a label system: captions and lists in, a vocabulary with its reasons out.

Read `build_vocabulary` top-down: read, gather, replay decisions, merge, select, number, write.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from ram_ray.labels.builder.candidates import Gathered, Phrase, gather
from ram_ray.labels.builder.config import BuildConfig
from ram_ray.labels.builder.coverage import Coverage, NameIndex, coverage_of
from ram_ray.labels.builder.decisions import Decision, read_decisions
from ram_ray.labels.builder.lists import SourceList, read_list
from ram_ray.labels.builder.merging import Clusters, Proposal, merge_candidates
from ram_ray.labels.builder.names import fold, gerund
from ram_ray.labels.builder.relations import parents_of
from ram_ray.labels.builder.replay import replay_before_merging, replay_on_tags
from ram_ray.labels.builder.selection import Dropped, select
from ram_ray.labels.builder.tag_ids import Row, assign_ids, read_old_rows
from ram_ray.labels.builder.tags import Tag, assemble
from ram_ray.labels.captions import read_captions
from ram_ray.labels.lexicon import Lexicon, load_lexicon
from ram_ray.labels.problems import Problem, Report

Discover = Callable[[str], Iterable[Phrase]]
"""The parser's discovery mode: a caption to its heads, modifiers and actions."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Build:
    """What a build made, with everything that the review page shows."""

    rows: list[Row]
    """By tag id."""
    parents: list[list[int]]
    dropped: list[Dropped]
    proposals: list[Proposal]
    coverage: list[Coverage]
    problems: list[Problem]
    unknown_names: list[str]
    """Decisions about names that no source has."""
    num_captions: int

    @property
    def tags(self) -> list[Tag]:
        """The kept tags, by id."""
        return [row.tag for row in self.rows if row.tag is not None]


def build_vocabulary(config: BuildConfig, discover: Discover) -> Build:
    """Build the label system of a config and write it to its output folder.

    Raises:
        ConfigError: a source or the decisions file cannot be used; nothing was written.
    """
    output = Path(config.output)
    lexicon = load_lexicon()
    problems: list[Problem] = []
    decisions = _decisions(config)
    old = read_old_rows(output / VOCABULARY)
    lists = read_lists(config, lexicon, problems.append)
    phrases = _discovered(config.captions, discover, problems.append)
    gathered = gather(lists, phrases, lexicon)
    made = make_tags(gathered, decisions, config, lexicon)
    rows = assign_ids(made.kept, old)
    build = Build(
        rows=rows,
        parents=_parents(rows, lexicon),
        dropped=made.dropped,
        proposals=made.proposals,
        coverage=[coverage_of(source, _index(rows, lexicon)) for source in lists],
        problems=problems,
        unknown_names=made.unknown_names,
        num_captions=gathered.num_captions,
    )
    output.mkdir(parents=True, exist_ok=True)
    write_build(build, config, old)
    return build

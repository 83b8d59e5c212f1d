"""What a build leaves in its folder: the vocabulary, the review page, and a report.

vocabulary.parquet   the model's layout, and sources and frequency of each tag
review.html          one file to look at it, and to write decisions
report.json          the same in numbers: coverage, merges, proposals, problems
decisions.txt        the person's, never written here but empty at first
"""

import json
import os
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ram_model.vocabulary import OFF, Vocabulary
from ram_ray.labels.builder.config import BuildConfig
from ram_ray.labels.builder.result import Build
from ram_ray.labels.builder.review import review_page
from ram_ray.labels.builder.tag_ids import Row

VOCABULARY = "vocabulary.parquet"
DECISIONS = "decisions.txt"
REVIEW = "review.html"
REPORT = "report.json"

_NO_DECISIONS = """\
# Decisions about tags: every build replays this file. One a line:
#   accept NAME [as object|scene|attribute|action]
#   reject NAME
#   merge NAME into NAME
#   keep NAME apart from NAME
"""


def write_build(build: Build, config: BuildConfig) -> None:
    """Write a build's files; each replaces the one before in one step."""
    output = Path(config.output)
    output.mkdir(parents=True, exist_ok=True)
    vocabulary = vocabulary_of(build, threshold=config.threshold)
    _replace(output / VOCABULARY, table_of(vocabulary, build.rows))
    _replace(output / REPORT, json.dumps(report_of(build), indent=1, ensure_ascii=False) + "\n")
    _replace(output / REVIEW, review_page(build))
    if not (output / DECISIONS).exists():
        _replace(output / DECISIONS, _NO_DECISIONS)


def vocabulary_of(build: Build, *, threshold: float) -> Vocabulary:
    """Return the vocabulary of a build; `threshold` is of tags that had none before."""
    thresholds = [_threshold(row, threshold) for row in build.rows]
    aliases = [
        () if row.tag is None else tuple(alias.text for alias in row.tag.aliases)
        for row in build.rows
    ]
    return Vocabulary(
        names=tuple(row.name for row in build.rows),
        names_zh=tuple("" if row.old is None else row.old.name_zh for row in build.rows),
        thresholds=np.array(thresholds, np.float32),
        kinds=tuple(row.kind for row in build.rows),
        aliases=tuple(aliases),
        parents=tuple(map(tuple, build.parents)),
    )


def table_of(vocabulary: Vocabulary, rows: list[Row]) -> pa.Table:
    """Return the vocabulary's columns with `sources` (list names) and `frequency` (captions)."""
    sources = [[] if row.tag is None else row.tag.sources for row in rows]
    frequency = [0 if row.tag is None else row.tag.frequency for row in rows]
    buffer = pa.BufferOutputStream()
    vocabulary.to_parquet(buffer)  # pyright: ignore[reportArgumentType]
    table = pq.read_table(pa.BufferReader(buffer.getvalue()))
    table = table.append_column("sources", pa.array(sources, pa.list_(pa.string())))
    return table.append_column("frequency", pa.array(frequency, pa.int64()))


def report_of(build: Build) -> dict[str, object]:
    """Return a build in numbers and names, as JSON takes it."""
    tags = build.tags
    names = [row.name for row in build.rows]
    return {
        "num_tags": len(tags),
        "num_retired": len(build.rows) - len(tags),
        "num_captions": build.num_captions,
        "tags_by_kind": {kind: sum(t.kind == kind for t in tags) for kind in _kinds(build)},
        "coverage": [
            {
                "list": one.list_name,
                "entries": one.num_entries,
                "covered": one.num_covered,
                "share": round(one.share, 4),
                "missing": list(one.missing),
            }
            for one in build.coverage
        ],
        "merges": [
            {"alias": alias.text, "name": tag.name, "reason": alias.reason, "by": alias.evidence}
            for tag in tags
            for alias in tag.aliases
        ],
        "parents": {
            names[number]: [names[parent] for parent in above]
            for number, above in enumerate(build.parents)
            if above
        },
        "proposals": [
            {"name": one.name.text, "other": one.other.text, "why": one.why}
            for one in build.proposals
        ],
        "unknown_names_in_decisions": build.unknown_names,
        "problems": [str(problem) for problem in build.problems],
    }


def _kinds(build: Build) -> list[str]:
    return sorted({tag.kind for tag in build.tags})


def _threshold(row: Row, default: float) -> float:
    if row.tag is None:
        return OFF
    return default if row.old is None or row.old.is_retired else row.old.threshold


def _replace(path: Path, content: pa.Table | str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    if isinstance(content, str):
        temporary.write_text(content, encoding="utf-8")
    else:
        pq.write_table(content, temporary, compression="zstd")
    os.replace(temporary, path)

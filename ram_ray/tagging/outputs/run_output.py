"""What a report shows of an OUTPUT, read from its files; memory stays flat in their number."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ram_ray.errors import ConfigError
from ram_ray.runs.commits import Commit, committed_shards, read_commits
from ram_ray.runs.plans import shard_name
from ram_ray.storage.parquet import read_parquet
from ram_ray.storage.stores import Store
from ram_ray.tagging.record import RunRecord

MAX_SHARDS_READ = 8  # a page of pictures needs no more; counts come from the commits
MAX_QUARANTINE_ROWS = 200  # what a person reads through


@dataclass(frozen=True, kw_only=True, slots=True)
class RunOutput:
    """Counts of the whole run, and some of its rows."""

    run: dict[str, Any]
    """run.json; empty when there is none."""
    num_shards: int
    num_tagged: int
    num_quarantined: int
    quarantined_by_code: dict[str, int]
    images: tuple[dict[str, Any], ...]
    """Rows of schema.TAGS, spread evenly over what was read."""
    quarantine: tuple[dict[str, Any], ...]
    """The first rows of schema.QUARANTINE."""
    tag_counts: tuple[tuple[str, int], ...]
    """Tag and number of images, falling, over `num_counted` images."""
    num_counted: int


def read_run_output(store: Store, *, max_images: int) -> RunOutput:
    """Read what a report needs.

    Raises:
        ConfigError: the folder holds no committed shard.
        UnreachableError: the store cannot be read.
    """
    shards = sorted(committed_shards(store))
    if not shards:
        raise ConfigError(f"{store.url} holds no results yet; `ram-ray tag` writes them.")
    commits = list(read_commits(store, shards))
    by_code: Counter[str] = Counter()
    for commit in commits:
        by_code.update(commit.quarantined_by_code)
    with_tags = [commit.shard for commit in commits if commit.tagged]
    tables = [_read(store, "tags", shard) for shard in spread(with_tags, at_most=MAX_SHARDS_READ)]
    return RunOutput(
        run=_read_run(store),
        num_shards=len(shards),
        num_tagged=sum(commit.tagged for commit in commits),
        num_quarantined=sum(commit.quarantined for commit in commits),
        quarantined_by_code=dict(by_code.most_common()),
        images=_spread_rows(tables, max_images),
        quarantine=_first_quarantined(store, commits),
        tag_counts=_tag_counts(tables),
        num_counted=sum(table.num_rows for table in tables),
    )


def spread(items: Sequence[int], *, at_most: int) -> list[int]:
    """Return at most `at_most` items, evenly spread, first one included."""
    if len(items) <= at_most:
        return list(items)
    return [items[position * len(items) // at_most] for position in range(at_most)]


def _read(store: Store, folder: str, shard: int) -> pa.Table:
    return read_parquet(store, f"{folder}/{shard_name(shard)}.parquet")


def _read_run(store: Store) -> dict[str, Any]:
    try:
        return json.loads(store.read("run.json"))
    except FileNotFoundError:
        return {}


def _spread_rows(tables: list[pa.Table], max_images: int) -> tuple[dict[str, Any], ...]:
    num_rows = sum(table.num_rows for table in tables)
    if not num_rows:
        return ()
    chosen = spread(range(num_rows), at_most=max_images)
    return tuple(pa.concat_tables(tables).take(chosen).to_pylist())


def _first_quarantined(store: Store, commits: list[Commit]) -> tuple[dict[str, Any], ...]:
    rows: list[dict[str, Any]] = []
    for commit in commits:
        if commit.quarantined and len(rows) < MAX_QUARANTINE_ROWS:
            rows += _read(store, "quarantine", commit.shard).to_pylist()
    return tuple(rows[:MAX_QUARANTINE_ROWS])


def _tag_counts(tables: list[pa.Table]) -> tuple[tuple[str, int], ...]:
    counts: Counter[str] = Counter()
    for table in tables:
        for row in table["tags"].combine_chunks().flatten().value_counts().to_pylist():
            counts[row["values"]] += row["counts"]
    return tuple(sorted(counts.items(), key=lambda item: (-item[1], item[0])))


def check_all_scores_kept(record: RunRecord, url: str) -> float:
    """Return the score from which up a run kept all tags, 0..1.

    Raises:
        ConfigError: it kept only those above its thresholds, or only the best.
    """
    if record.score_floor is None:
        raise ConfigError(
            f"{url} holds only tags above its thresholds; tag again with --score-floor 0 into "
            "another output."
        )
    if record.top_k is not None:
        raise ConfigError(
            f"{url} was tagged with --top-k, which dropped tags; tag again without it."
        )
    return record.score_floor

"""The tables of a finished step, and the counts that every shard of it leaves for the report."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

import pyarrow as pa

from ram_ray.config import StoreConfig
from ram_ray.data_engine.steps.step import Step
from ram_ray.runs.commits import Commit, read_commits
from ram_ray.runs.plans import shard_name
from ram_ray.storage.parquet import read_parquet
from ram_ray.storage.stores import Store

COUNTS = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("tag_id", pa.int32()),  # null: of all tags together
        pa.field("value", pa.int64(), nullable=False),
    ]
)
"""What a shard counted; the report adds them up."""


def read_table(store: Store, folder: str, shard: int) -> pa.Table:
    """Return one table of a committed shard."""
    return read_parquet(store, f"{folder}/{shard_name(shard)}.parquet")


def read_all_commits(step: Step, config: StoreConfig) -> Iterator[Commit]:
    """Yield the commits of a finished step, in order."""
    yield from read_commits(step.open(config), range(step.num_shards))


def counts_table(counts: dict[str, int] | Counter[Any]) -> pa.Table:
    """Return COUNTS of {name: value} or {(name, tag_id): value}."""
    rows = [
        {"name": key, "tag_id": None, "value": value}
        if isinstance(key, str)
        else {"name": key[0], "tag_id": key[1], "value": value}
        for key, value in sorted(counts.items(), key=str)
    ]
    return pa.Table.from_pylist(rows, COUNTS)


def sum_counts(step: Step, config: StoreConfig) -> Counter[Any]:
    """Return what all shards of a finished step counted: {name or (name, tag_id): value}."""
    store = step.open(config)
    total: Counter[Any] = Counter()
    for shard in range(step.num_shards):
        for row in read_table(store, "counts", shard).to_pylist():
            key = row["name"] if row["tag_id"] is None else (row["name"], row["tag_id"])
            total[key] += row["value"]
    return total

"""Put what a retry found in the place of what was quarantined, shard by shard, each at once.

A shard's new files are its old rows without the images that were tried again, and their new rows:
a function of what is committed, so any driver may do it, and do it again.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from typing import Any

import pyarrow as pa

from ram_ray.runs.commits import (
    Commit,
    check_conservation,
    commit_tables,
    iter_batches,
    publish,
    read_commit,
    read_commits,
    read_published,
    retried_shards,
)
from ram_ray.runs.plans import read_plan_shard
from ram_ray.storage.stores import Store
from ram_ray.tagging.retrying.retries import Retry, num_wanted

MERGERS = 16
"""Shards merged at a time: each costs a dozen small requests."""

Row = dict[str, Any]
OnMerged = Callable[[], None]
"""Called per shard; may raise to stop."""


def merge_retry(
    store: Store, run: Store, retry: Retry, *, shards: int, run_shards: int, on_merged: OnMerged
) -> None:
    """Commit and publish every shard that a retry changes.

    Args:
        store: the output, of `shards` shards.
        run: the retry's own run, of `run_shards` shards, all committed.

    Raises:
        ConservationError: a file is not the one that was committed, or rows do not add up.
        FileNotFoundError: a file is gone.
    """
    merged = {shard for shard, number in retried_shards(store).items() if number == retry.number}
    found = rows_in_plan_order(run, range(run_shards))
    changed = (
        (commit, list(islice(found, count)))
        for commit in read_commits(store, range(shards), before=retry.number)
        if (count := num_wanted(commit, retry.error_codes))
    )

    def settle(shard_and_rows: tuple[Commit, list[Row]]) -> None:
        commit, rows = shard_and_rows
        if commit.shard in merged:
            publish(store, read_commit(store, commit.shard, retry.number))
        else:
            replace_rows(store, commit, rows, retry.number)

    with ThreadPoolExecutor(MERGERS) as pool:
        for some in iter_batches(changed, 4 * MERGERS):
            for _ in pool.map(settle, some):
                on_merged()


def rows_in_plan_order(run: Store, shards: Iterable[int]) -> Iterator[Row]:
    """Yield a finished run's rows, tagged and quarantined, as the plan has them."""
    for commit in read_commits(run, shards):
        tables = (read_published(run, file) for file in commit.files)
        by_key = {_key(row): row for table in tables for row in table.to_pylist()}
        for planned in read_plan_shard(run, commit.shard).to_pylist():
            yield by_key[_key(planned)]


def replace_rows(store: Store, commit: Commit, rows: list[Row], retry: int) -> Commit:
    """Commit a shard with `rows` in the place of the quarantined rows of the same images.

    Args:
        commit: of the shard's files as they are published.
        rows: as in schema.TAGS or schema.QUARANTINE.
    """
    plan = read_plan_shard(store, commit.shard)
    planned = {_key(row): row | {"at": at} for at, row in enumerate(plan.to_pylist())}
    tags, quarantine = (read_published(store, commit.file(n)) for n in ("tags", "quarantine"))
    redone = {_key(row) for row in rows}
    left = [row for row in quarantine.to_pylist() if _key(row) not in redone]
    # The retry's plan may have changed a size; the table says what was listed.
    left += [
        row | {"size_bytes": planned[_key(row)]["size_bytes"]}
        for row in rows
        if "error_code" in row
    ]
    left.sort(key=lambda row: planned[_key(row)]["at"])
    new = pa.Table.from_pylist([row for row in rows if "error_code" not in row], tags.schema)
    tags = pa.concat_tables([tags, new])
    order = [planned[key]["at"] for key in zip(*(tags[n].to_pylist() for n in _KEY), strict=True)]
    tags = tags.take(pa.array(sorted(range(len(order)), key=order.__getitem__), pa.int64()))
    quarantine = pa.Table.from_pylist(left, quarantine.schema)
    check_conservation(commit.shard, plan, tags, quarantine)
    return commit_tables(
        store,
        commit.shard,
        {"tags": tags, "quarantine": quarantine},
        tagged=tags.num_rows,
        quarantined_by_code=Counter(quarantine["error_code"].to_pylist()),
        remarks=commit.remarks,  # those of images tagged by the retry stand in its own commits
        retry=retry,
    )


_KEY = ("image_id", "uri")


def _key(row: Row) -> tuple[str, str]:
    return row["image_id"], row["uri"]

"""The plan of a run: which images, in which shard. Fixed once written.

plan/<attempt>/shard-000000.parquet   PLAN rows of one shard, in listing order
plan/plan.json                        written last: shards, rows, skipped names, listing time

Where its files lie: `plan_files`.
"""

import io
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, fields
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray.runs.plan_files import PlanWriter, plan_place, read_plan_as
from ram_ray.storage.parquet import read_parquet
from ram_ray.storage.sources import NameFilter, PassedOver, SourceObject
from ram_ray.storage.stores import Store

MAX_SUFFIXES = 50
"""Suffixes of skipped names that are counted apart; a listing may hold any number."""
_SUFFIX = re.compile(r"\.[a-z0-9]{1,10}$")

PLAN = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # the caller's key, never rewritten
        pa.field("uri", pa.string(), nullable=False),  # where the bytes are
        pa.field("member_offset", pa.int64()),  # null: the whole object is the image
        pa.field("member_size", pa.int64()),
        pa.field("etag", pa.string()),  # as listed; null where the store has none
        pa.field("size_bytes", pa.int64(), nullable=False),
    ]
)


@dataclass(frozen=True, slots=True)
class PlanSummary:
    """What the plan holds."""

    shards: int
    rows: int
    size_bytes: int
    skipped: int
    """Objects left out by name."""
    listing_s: float
    skipped_by_suffix: dict[str, int] = field(default_factory=dict)
    """Those, by lower-case suffix, the most frequent first; 0.1.0 did not count them."""
    passed_over: dict[str, int] = field(default_factory=dict)
    """What could not be listed or is no file, by reason; 0.1.0 did not count them."""
    passed_examples: dict[str, str] = field(default_factory=dict)
    """The first place of each reason."""

    def rows_in(self, shards: Iterable[int], shard_rows: int) -> int:
        """Return how many planned images some shards hold; only the last one is shorter."""
        last = self.rows - (self.shards - 1) * shard_rows
        return sum(last if shard == self.shards - 1 else shard_rows for shard in shards)


def write_plan(
    store: Store,
    objects: Iterable[SourceObject],
    names: NameFilter,
    *,
    shard_rows: int,
    on_listed: Callable[[int], None],
    passed: PassedOver | None = None,
    after: Callable[[str], Iterable[SourceObject]] | None = None,
) -> PlanSummary:
    """Cut a listing into shards and write them as it streams; at most one shard is in memory.

    Another driver may have been faster: its plan is then the one that counts, and is returned.

    Args:
        on_listed: told the number of planned images so far, once per shard; may raise to stop.
        passed: what the listing passes over; full when `objects` ends.
        after: lists what comes after the image of a URI, in order; with it, the plan of a driver
            that was killed is gone on with. None: the source has no such order.
    """
    started = time.monotonic()
    passed = passed or PassedOver()
    writer = PlanWriter(store, resume=after is not None)
    so_far = _Counts.of(writer.resumed)
    if after is not None and so_far.last_uri is not None:
        objects = after(so_far.last_uri)
    pending: list[SourceObject] = []

    def write_pending() -> None:
        writer.write_shard(f"{shard_name(so_far.shards)}.parquet", to_parquet(plan_table(pending)))
        so_far.shards, so_far.rows = so_far.shards + 1, so_far.rows + len(pending)
        so_far.last_uri = pending[-1].uri
        pending.clear()

    for listed in objects:
        if not names.takes(listed):
            so_far.skipped += 1
            _count_suffix(so_far.suffixes, listed.image_id)
            continue
        pending.append(listed)
        so_far.size_bytes += listed.size_bytes
        if len(pending) == shard_rows:
            write_pending()
            if after is not None:
                writer.note(so_far.noted(time.monotonic() - started))
            on_listed(so_far.rows)
    if pending:
        write_pending()
    on_listed(so_far.rows)
    return writer.finish(so_far.summary(passed, time.monotonic() - started))


@dataclass(slots=True)
class _Counts:
    """What has been listed so far, by this attempt and those that it goes on from."""

    shards: int = 0
    rows: int = 0
    size_bytes: int = 0
    skipped: int = 0
    suffixes: Counter[str] = field(default_factory=Counter)
    earlier_s: float = 0.0
    """Of attempts that were killed."""
    last_uri: str | None = None
    """Of the last image of the last shard."""

    @classmethod
    def of(cls, noted: dict[str, Any] | None) -> "_Counts":
        """Return what `noted` gave; None: nothing yet."""
        if noted is None:
            return cls()
        counts = cls(**noted)
        counts.suffixes = Counter(counts.suffixes)
        return counts

    def noted(self, this_s: float) -> dict[str, Any]:
        """Return what another driver goes on from."""
        facts = {one.name: getattr(self, one.name) for one in fields(self)}
        return facts | {"earlier_s": round(self.earlier_s + this_s, 3)}

    def summary(self, passed: PassedOver, this_s: float) -> PlanSummary:
        """Return what plan.json says."""
        return PlanSummary(
            self.shards,
            self.rows,
            self.size_bytes,
            self.skipped,
            round(self.earlier_s + this_s, 3),
            dict(self.suffixes.most_common()),
            passed_over=dict(passed.counts),
            passed_examples=passed.examples,
        )


def _count_suffix(suffixes: Counter[str], image_id: str) -> None:
    """Count a name by what it ends with; names that end in ever new ways are counted together."""
    found = _SUFFIX.search(image_id.lower())
    suffix = found[0] if found else "no suffix"
    suffixes[suffix if suffix in suffixes or len(suffixes) < MAX_SUFFIXES else "others"] += 1


def read_plan(store: Store) -> PlanSummary | None:
    """Return the summary of a plan of images; None when no plan was finished here."""
    return read_plan_as(store, PlanSummary)


def shard_name(shard: int) -> str:
    """Return the name of a shard in every folder of a run, without its suffix."""
    return f"shard-{shard:06d}"


def plan_table(objects: list[SourceObject]) -> pa.Table:
    """Return listed objects as PLAN rows."""
    none = [None] * len(objects)
    return pa.table(
        {
            "image_id": [item.image_id for item in objects],
            "uri": [item.uri for item in objects],
            "member_offset": none,
            "member_size": none,
            "etag": [item.etag for item in objects],
            "size_bytes": [item.size_bytes for item in objects],
        },
        schema=PLAN,
    )


def read_plan_shard(store: Store, shard: int) -> pa.Table:
    """Return the PLAN rows of one shard."""
    return read_parquet(store, plan_place(store).key(f"{shard_name(shard)}.parquet", shard))


def to_parquet(table: pa.Table) -> bytes:
    """Return a table as one Parquet file, zstd-compressed."""
    sink = io.BytesIO()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue()


def cut_chunks(plan: pa.Table, *, max_rows: int, max_bytes: int) -> list[int]:
    """Cut a shard into chunks of at most `max_rows` images and about `max_bytes` of source.

    A function of the plan and the two limits alone, so every round cuts alike.

    Returns:
        The plan row where each chunk starts, and the number of rows last.
    """
    bounds = [0]
    size = 0
    for row, size_bytes in enumerate(plan["size_bytes"].to_pylist()):
        full = row - bounds[-1] == max_rows
        heavy = row > bounds[-1] and size + size_bytes > max_bytes
        if full or heavy:
            bounds.append(row)
            size = 0
        size += size_bytes
    return [*bounds, plan.num_rows]

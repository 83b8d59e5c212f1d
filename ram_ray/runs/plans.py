"""The plan of a run: which images, in which shard. Fixed once written.

plan/shard-000000.parquet   PLAN rows of one shard, in listing order
plan/plan.json              written last: shards, rows, skipped names, listing time
"""

import io
import json
import re
import time
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass, field
from typing import Any, ClassVar, Protocol, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray.storage.parquet import read_parquet
from ram_ray.storage.sources import NameFilter, PassedOver, SourceObject
from ram_ray.storage.stores import Store

PLAN_KEY = "plan/plan.json"

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


class AnyPlanSummary(Protocol):
    """What plan.json says of a plan, whatever it is a plan of: a dataclass of JSON values."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def shards(self) -> int:
        """Return how many shards there are."""
        ...


AnyPlan = TypeVar("AnyPlan", bound=AnyPlanSummary)


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
) -> PlanSummary:
    """Cut a listing into shards and write them as it streams; at most one shard is in memory.

    Args:
        on_listed: told the number of planned images so far, once per shard; may raise to stop.
        passed: what the listing passes over; full when `objects` ends.
    """
    started = time.monotonic()
    clear_plan(store)
    shards = rows = size_bytes = skipped = 0
    suffixes: Counter[str] = Counter()
    pending: list[SourceObject] = []
    for listed in objects:
        if not names.accepts(listed.image_id):
            skipped += 1
            _count_suffix(suffixes, listed.image_id)
            continue
        pending.append(listed)
        size_bytes += listed.size_bytes
        if len(pending) == shard_rows:
            write_plan_shard(store, shards, pending)
            shards, rows, pending = shards + 1, rows + len(pending), []
            on_listed(rows)
    if pending:
        write_plan_shard(store, shards, pending)
        shards, rows = shards + 1, rows + len(pending)
    on_listed(rows)
    listing_s = round(time.monotonic() - started, 3)
    told = dict(suffixes.most_common())
    passed = passed or PassedOver()
    summary = PlanSummary(
        shards,
        rows,
        size_bytes,
        skipped,
        listing_s,
        told,
        passed_over=dict(passed.counts),
        passed_examples=passed.examples,
    )
    finish_plan(store, summary)
    return summary


def _count_suffix(suffixes: Counter[str], image_id: str) -> None:
    """Count a name by what it ends with; names that end in ever new ways are counted together."""
    found = _SUFFIX.search(image_id.lower())
    suffix = found[0] if found else "no suffix"
    suffixes[suffix if suffix in suffixes or len(suffixes) < MAX_SUFFIXES else "others"] += 1


def clear_plan(store: Store) -> None:
    """Remove what a driver left that died while it planned."""
    for key in store.list("plan"):
        store.delete(key)


def finish_plan(store: Store, summary: AnyPlanSummary) -> None:
    """Write plan.json, last of all, and only of a plan that has shards."""
    if summary.shards:
        store.write(PLAN_KEY, json.dumps(asdict(summary), indent=1).encode())


def read_plan_as(store: Store, kind: type[AnyPlan]) -> AnyPlan | None:
    """Return what plan.json says; None when no plan was finished here."""
    try:
        return kind(**json.loads(store.read(PLAN_KEY)))
    except FileNotFoundError:
        return None


def read_plan(store: Store) -> PlanSummary | None:
    """Return the summary of a plan of images; None when no plan was finished here."""
    return read_plan_as(store, PlanSummary)


def shard_name(shard: int) -> str:
    """Return the name of a shard in every folder of a run, without its suffix."""
    return f"shard-{shard:06d}"


def write_plan_shard(store: Store, shard: int, objects: list[SourceObject]) -> None:
    """Write one shard of the plan."""
    none = [None] * len(objects)
    table = pa.table(
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
    store.write(f"plan/{shard_name(shard)}.parquet", to_parquet(table))


def read_plan_shard(store: Store, shard: int) -> pa.Table:
    """Return the PLAN rows of one shard."""
    return read_parquet(store, f"plan/{shard_name(shard)}.parquet")


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

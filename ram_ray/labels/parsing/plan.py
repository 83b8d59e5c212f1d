"""Which pieces of which caption files a run parses, in which shard; fixed once written.

plan/shard-000000.parquet   PIECES of one shard
plan/plan.json              written last

A piece is a run of whole lines of a text or JSONL file, or a whole Parquet, JSON or tar file.
"""

import io
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray.config import StoreConfig
from ram_ray.labels.captions.listing import CaptionFile, is_picture, list_caption_files
from ram_ray.labels.captions.pieces import Piece, cut_pieces
from ram_ray.runs.plans import PLAN_KEY, shard_name, to_parquet
from ram_ray.storage.sources import SourceObject
from ram_ray.storage.stores import Store

MAX_PIECES = 2_000
"""Of a shard: files beside images are small, and each is a request."""

PIECES = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),  # below SOURCE, or the file's name
        pa.field("uri", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # first byte
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("first_line", pa.int64(), nullable=False),  # from 1
        pa.field("num_lines", pa.int64()),  # null: not known before it is read
        pa.field("form", pa.string(), nullable=False),  # forms.Form as JSON
        pa.field("images", pa.list_(pa.string()), nullable=False),  # that the file stands beside
    ]
)


@dataclass(frozen=True, slots=True)
class CaptionPlan:
    """What the plan holds."""

    shards: int
    files: int
    size_bytes: int
    skipped: int
    """Files of other kinds."""


def write_caption_plan(
    store: Store,
    source: str,
    config: StoreConfig,
    *,
    columns: Sequence[str] | None = None,
    shard_bytes: int,
    on_planned: Callable[[int], None],
) -> CaptionPlan:
    """Cut the source into pieces and shards of about `shard_bytes`, and write them.

    Args:
        columns: what the columns of tables without names are, in order.
        on_planned: told the number of shards so far; may raise to stop.

    Raises:
        ConfigError: a table's columns cannot be told, or a tar is compressed.
    """
    for key in store.list("plan"):  # left by a driver that died while planning
        store.delete(key)
    shards = files = size_bytes = skipped = 0
    pending: list[Piece] = []
    for file in list_caption_files(source, config, columns):
        if not isinstance(file, CaptionFile) or file.form.kind == "stats":
            skipped += not (isinstance(file, SourceObject) and is_picture(file.image_id))
            continue
        files += 1
        size_bytes += file.found.size_bytes
        for piece in cut_pieces(file, config, piece_bytes=shard_bytes):
            full = sum(one.size_bytes for one in pending) >= shard_bytes
            # What several files say of one image stays together: the same words count once.
            if pending and (full or len(pending) >= MAX_PIECES) and _is_apart(piece, pending[-1]):
                _write_shard(store, shards, pending)
                shards, pending = shards + 1, []
                on_planned(shards)
            pending.append(piece)
    if pending:
        _write_shard(store, shards, pending)
        shards += 1
    plan = CaptionPlan(shards, files, size_bytes, skipped)
    if shards:
        store.write(PLAN_KEY, json.dumps(asdict(plan), indent=1).encode())
    return plan


def read_caption_plan(store: Store) -> CaptionPlan | None:
    """Return the plan's summary; None when no plan was finished here."""
    try:
        return CaptionPlan(**json.loads(store.read(PLAN_KEY)))
    except FileNotFoundError:
        return None


def read_pieces(store: Store, shard: int) -> list[Piece]:
    """Return the pieces of one shard."""
    table = pq.read_table(io.BytesIO(store.read(f"plan/{shard_name(shard)}.parquet")))
    return [Piece(**row | {"images": tuple(row["images"])}) for row in table.to_pylist()]


def _is_apart(piece: Piece, last: Piece) -> bool:
    return not piece.images or piece.images != last.images


def _write_shard(store: Store, shard: int, pieces: list[Piece]) -> None:
    table = pa.Table.from_pylist([piece._asdict() for piece in pieces], PIECES)
    store.write(f"plan/{shard_name(shard)}.parquet", to_parquet(table))

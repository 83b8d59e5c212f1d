"""Which pieces of which caption files a run parses, in which shard; fixed once written.

plan/<attempt>/shard-000000.parquet   PIECES of one shard
plan/plan.json                        written last: `ram_ray.runs.plan_files`

A piece is a run of whole lines of a text or JSONL file, or a whole Parquet, JSON or tar file.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import pyarrow as pa

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.labels.captions.forms import form_of
from ram_ray.labels.captions.listing import (
    CaptionFile,
    is_caption_file,
    is_picture,
    list_caption_files,
    list_objects,
    read_head,
)
from ram_ray.labels.captions.pieces import Piece, cut_pieces
from ram_ray.runs.plan_files import PlanWriter, plan_place
from ram_ray.runs.plans import shard_name, to_parquet
from ram_ray.storage.parquet import read_parquet
from ram_ray.storage.sources import PassedOver, SourceObject
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
    passed_over: dict[str, int] = field(default_factory=dict)
    """What could not be listed or is no file, by reason; 0.1.0 did not count them."""
    passed_examples: dict[str, str] = field(default_factory=dict)
    """The first place of each reason."""


def check_captions(source: str, config: StoreConfig) -> None:
    """Refuse a source without one file of captions.

    Raises:
        ConfigError: there is none; says how many files are of other kinds.
        UnreachableError: the source cannot be listed.
    """
    skipped = 0
    for found in list_objects(source, config, PassedOver()):
        if is_caption_file(found.image_id):
            return
        skipped += 1
    raise _no_captions(source, skipped)


def _no_captions(source: str, skipped: int) -> ConfigError:
    other = f" ({skipped:,} files of other kinds)" if skipped else ""
    return ConfigError(f"There are no captions in {source}{other}.")


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
        ConfigError: the files hold nothing, or a table's columns cannot be told.
        UnreachableError: the source cannot be read.
    """
    writer = PlanWriter(store)
    shards = files = size_bytes = skipped = 0
    pending: list[Piece] = []
    passed = PassedOver()
    for file in list_caption_files(source, config, columns, passed):
        if not isinstance(file, CaptionFile) or file.form.kind == "stats":
            skipped += not (isinstance(file, SourceObject) and is_picture(file.image_id))
            continue
        files += 1
        size_bytes += file.found.size_bytes
        for piece in cut_pieces(file, config, piece_bytes=shard_bytes):
            full = sum(one.size_bytes for one in pending) >= shard_bytes
            # What several files say of one image stays together: the same words count once.
            if pending and (full or len(pending) >= MAX_PIECES) and _is_apart(piece, pending[-1]):
                _write_shard(writer, shards, pending)
                shards, pending = shards + 1, []
                on_planned(shards)
            pending.append(piece)
    if pending:
        _write_shard(writer, shards, pending)
        shards += 1
    plan = CaptionPlan(shards, files, size_bytes, skipped, dict(passed.counts), passed.examples)
    if not shards:
        raise _no_captions(source, skipped)
    return writer.finish(plan)


def read_pieces(store: Store, shard: int, config: StoreConfig) -> list[Piece]:
    """Return the pieces of one shard."""
    table = read_parquet(store, plan_place(store).key(f"{shard_name(shard)}.parquet", shard))
    if "form" not in table.column_names:  # of 0.1.0, which told the form from the name alone
        pieces = [Piece(**row, form="", images=()) for row in table.to_pylist()]
        return [
            piece._replace(form=form_of(piece.key, read_head(piece.uri, config)).to_json())
            for piece in pieces
        ]
    return [Piece(**row | {"images": tuple(row["images"])}) for row in table.to_pylist()]


def _is_apart(piece: Piece, last: Piece) -> bool:
    return not piece.images or piece.images != last.images


def _write_shard(writer: PlanWriter, shard: int, pieces: list[Piece]) -> None:
    table = pa.Table.from_pylist([piece._asdict() for piece in pieces], PIECES)
    writer.write_shard(f"{shard_name(shard)}.parquet", to_parquet(table))

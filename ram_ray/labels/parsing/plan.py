"""Which pieces of which caption files a run parses, in which shard; fixed once written.

plan/shard-000000.parquet   PIECES of one shard
plan/plan.json              written last

A piece is a run of whole lines of a text or JSONL file, or a whole Parquet, JSON or tar file.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import obstore
import pyarrow as pa

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.labels.captions import SUFFIXES
from ram_ray.runs.plans import clear_plan, finish_plan, shard_name, to_parquet
from ram_ray.storage.parquet import read_parquet
from ram_ray.storage.sources import SourceObject, list_source
from ram_ray.storage.stores import Store, open_bucket, split_url

BY_LINES = (".jsonl", ".ndjson", ".txt", ".token", ".tsv")
"""Files that can be cut between lines."""
BLOCK_BYTES = 1 << 20

PIECES = pa.schema(
    [
        pa.field("key", pa.string(), nullable=False),  # below SOURCE, or the file's name
        pa.field("uri", pa.string(), nullable=False),
        pa.field("start", pa.int64(), nullable=False),  # first byte
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("first_line", pa.int64(), nullable=False),  # from 1
        pa.field("num_lines", pa.int64()),  # null: not known before it is read
    ]
)


class Piece(NamedTuple):
    """One row of PIECES."""

    key: str
    uri: str
    start: int
    size_bytes: int
    first_line: int
    num_lines: int | None


@dataclass(frozen=True, slots=True)
class CaptionPlan:
    """What the plan holds."""

    shards: int
    files: int
    size_bytes: int
    skipped: int
    """Files of other kinds."""


def list_caption_files(source: str, config: StoreConfig) -> Iterator[SourceObject]:
    """Yield the objects of a folder, a prefix, or a single file of captions.

    Raises:
        ConfigError: the URL's scheme is not one we read.
        UnreachableError: the source cannot be listed.
    """
    scheme, bucket, path = split_url(source)
    if not path.endswith(SUFFIXES):
        yield from list_source(source, config)
        return
    name = path.rsplit("/", 1)[-1]
    folder = path.removesuffix(name).rstrip("/")
    parent = f"s3://{bucket}/{folder}" if scheme == "s3" else folder or "/"
    for found in list_source(parent, config):
        if found.image_id in (name, path):
            yield found


def check_captions(source: str, config: StoreConfig) -> None:
    """Refuse a source without one file of captions.

    Raises:
        ConfigError: there is none; says how many files are of other kinds.
        UnreachableError: the source cannot be listed.
    """
    skipped = 0
    for found in list_caption_files(source, config):
        if found.image_id.endswith(SUFFIXES):
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
    shard_bytes: int,
    on_planned: Callable[[int], None],
) -> CaptionPlan:
    """Cut the source into pieces and shards of about `shard_bytes`, and write them.

    Args:
        on_planned: told the number of shards so far; may raise to stop.

    Raises:
        ConfigError: the files hold nothing.
        UnreachableError: the source cannot be read.
    """
    clear_plan(store)
    shards = files = size_bytes = skipped = 0
    pending: list[Piece] = []
    for found in list_caption_files(source, config):
        if not found.image_id.endswith(SUFFIXES):
            skipped += 1
            continue
        files += 1
        size_bytes += found.size_bytes
        for piece in cut_pieces(found, config, piece_bytes=shard_bytes):
            pending.append(piece)
            if sum(one.size_bytes for one in pending) >= shard_bytes:
                _write_shard(store, shards, pending)
                shards, pending = shards + 1, []
                on_planned(shards)
    if pending:
        _write_shard(store, shards, pending)
        shards += 1
    plan = CaptionPlan(shards, files, size_bytes, skipped)
    if not shards:
        raise _no_captions(source, skipped)
    finish_plan(store, plan)
    return plan


def read_pieces(store: Store, shard: int) -> list[Piece]:
    """Return the pieces of one shard."""
    table = read_parquet(store, f"plan/{shard_name(shard)}.parquet")
    return [Piece(**row) for row in table.to_pylist()]


def cut_pieces(found: SourceObject, config: StoreConfig, *, piece_bytes: int) -> Iterator[Piece]:
    """Yield the pieces of one file; a file of lines is read once, to find where lines end."""
    key = found.image_id.rsplit("/", 1)[-1] if "/" not in found.uri else found.image_id
    if not key.endswith(BY_LINES):
        yield Piece(key, found.uri, 0, found.size_bytes, 1, None)
        return
    start = at = 0
    first_line = 1
    num_lines = 0
    last = b"\n"
    for block in read_blocks(found.uri, config, min(BLOCK_BYTES, piece_bytes)):
        ends = block.count(b"\n")
        cut = block.rfind(b"\n") + 1
        if ends and at + cut - start >= piece_bytes:
            num_lines += ends
            yield Piece(key, found.uri, start, at + cut - start, first_line, num_lines)
            start, first_line, num_lines = at + cut, first_line + num_lines, 0
        else:
            num_lines += ends
        at += len(block)
        last = block[-1:]
    if at > start:
        num_lines += last != b"\n"
        yield Piece(key, found.uri, start, at - start, first_line, num_lines)


def read_blocks(uri: str, config: StoreConfig, block_bytes: int) -> Iterator[bytes]:
    """Yield a file's bytes, a block at a time."""
    scheme, bucket, path = split_url(uri)
    if scheme == "file":
        with open(path, "rb") as file:
            while block := file.read(block_bytes):
                yield block
        return
    key = uri.removeprefix(f"s3://{bucket}/")
    stream = obstore.get(open_bucket(bucket, config, max_retries=5), key)
    for block in stream.stream(min_chunk_size=block_bytes):
        yield bytes(block)


def read_piece_bytes(piece: Piece, config: StoreConfig) -> bytes:
    """Return the bytes of one piece; FileNotFoundError when its file is gone."""
    scheme, bucket, path = split_url(piece.uri)
    if scheme == "file":
        with open(path, "rb") as file:
            file.seek(piece.start)
            return file.read(piece.size_bytes)
    if piece.size_bytes == 0:
        return b""
    key = piece.uri.removeprefix(f"s3://{bucket}/")
    raw = open_bucket(bucket, config, max_retries=5)
    return bytes(obstore.get_range(raw, key, start=piece.start, length=piece.size_bytes))


def _write_shard(store: Store, shard: int, pieces: list[Piece]) -> None:
    table = pa.Table.from_pylist([piece._asdict() for piece in pieces], PIECES)
    store.write(f"plan/{shard_name(shard)}.parquet", to_parquet(table))

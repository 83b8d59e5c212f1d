"""Sort what was found by the hash of its name, on disk: memory stays flat whatever the number."""

import hashlib
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray.data_engine.plan.named_images import Found

RUN_ROWS = 200_000
"""Rows sorted in memory at a time; about 60 MB with captions of 60 characters."""
READ_ROWS = 4_096
"""Rows read at a time from each sorted run."""
SORTED = pa.schema(
    [
        pa.field("hash", pa.uint64(), nullable=False),
        pa.field("key", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("uri", pa.string()),  # null: a caption
        pa.field("size_bytes", pa.int64(), nullable=False),
        pa.field("text", pa.string(), nullable=False),
        pa.field("source", pa.string(), nullable=False),
        pa.field("etag", pa.string()),
    ]
)


class _Row(NamedTuple):
    hash: int
    key: str
    name: str
    uri: str | None
    size_bytes: int
    text: str
    source: str
    etag: str | None


def write_runs(
    folder: Path, found: Iterable[Found], on_planned: Callable[[int], None]
) -> tuple[list[Path], int, int]:
    """Write what was found as sorted files; return them, the number of images and of captions."""
    runs: list[Path] = []
    rows: list[_Row] = []
    counts = [0, 0]
    for one in found:
        counts[one.uri is None] += 1
        rows.append(_Row(name_hash(one.key), *one))
        if len(rows) == RUN_ROWS:
            runs.append(_write_run(folder, len(runs), rows))
            rows = []
            on_planned(sum(counts))
    if rows:
        runs.append(_write_run(folder, len(runs), rows))
    return runs, counts[0], counts[1]


def _write_run(folder: Path, number: int, rows: list[_Row]) -> Path:
    path = folder / f"run-{number:06d}.parquet"
    columns = dict(zip(SORTED.names, zip(*rows, strict=True), strict=True))
    table = pa.table({name: list(values) for name, values in columns.items()}, schema=SORTED)
    pq.write_table(table.sort_by("hash"), path, row_group_size=READ_ROWS, compression="zstd")
    return path


def read_shards(runs: list[Path], num_shards: int) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of each shard: a merge that reads every run once, from front to back."""
    readers = [_RunReader(path) for path in runs]
    for shard in range(num_shards):
        end = -(-((shard + 1) << 64) // num_shards)  # first hash of the next shard
        yield [row for reader in readers for row in reader.until(end)]


class _RunReader:
    def __init__(self, path: Path) -> None:
        self._batches = pq.ParquetFile(path).iter_batches(batch_size=READ_ROWS)
        self._rest: pa.RecordBatch | None = next(self._batches, None)

    def until(self, end: int) -> Iterator[dict[str, Any]]:
        """Yield the rows with a hash below `end`, and forget them."""
        while self._rest is not None:
            hashes = self._rest.column("hash").to_numpy(zero_copy_only=False)
            cut = len(hashes) if end >= 1 << 64 else int(np.searchsorted(hashes, np.uint64(end)))
            yield from self._rest.slice(0, cut).to_pylist()
            if cut < len(hashes):
                self._rest = self._rest.slice(cut)
                return
            self._rest = next(self._batches, None)


def name_hash(text: str) -> int:
    """Return 64 bits that depend on `text` alone: what folds and samples are drawn by."""
    digest = hashlib.blake2b(text.encode(), digest_size=8).digest()
    return int.from_bytes(digest, "big")

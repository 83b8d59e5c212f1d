"""Chunks: how the plan is cut into the rows that travel between the stages.

A stretch is some consecutive chunks of a shard, what one fetch task takes on; a chunk is a few
dozen images that are decoded and tagged together.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from ram_ray.config import StoreConfig
from ram_ray.runs.plans import cut_chunks, read_plan_shard
from ram_ray.storage.stores import open_store

CHUNK_SOURCE_BYTES = 64 * 2**20
"""Source bytes above which a chunk is cut before the model's batch is full (docs/how-it-works.md,
A.1)."""

STRETCH = pa.schema(
    [
        ("shard", pa.int32()),
        ("num_chunks", pa.int32()),  # of the whole shard
        ("first_chunk", pa.int32()),
        ("starts", pa.list_(pa.int32())),  # plan row of each chunk's first image, and the end
        ("image_id", pa.list_(pa.string())),
        ("uri", pa.list_(pa.string())),
        ("size_bytes", pa.list_(pa.int64())),
        ("etag", pa.list_(pa.string())),  # as listed; null: not known
    ]
)
"""Plan facts of some consecutive chunks of a shard: what one fetch task takes on."""

CHUNK_PIXELS = pa.schema(
    [
        ("shard", pa.int32()),
        ("chunk", pa.int32()),
        ("num_chunks", pa.int32()),
        ("first_row", pa.int32()),
        ("image_id", pa.list_(pa.string())),
        ("uri", pa.list_(pa.string())),
        ("size_bytes", pa.list_(pa.int64())),
        ("etag", pa.list_(pa.string())),  # as listed
        ("changed_etag", pa.list_(pa.string())),  # of what was fetched, where that is another
        ("width", pa.list_(pa.int32())),
        ("height", pa.list_(pa.int32())),
        ("error_code", pa.list_(pa.string())),
        ("message", pa.list_(pa.string())),
        ("attempts", pa.list_(pa.int32())),
        ("remarks", pa.list_(pa.list_(pa.string()))),  # `ram_ray.images.remarks.Remark`
        ("pixels", pa.large_binary()),
    ]
)
"""A decoded chunk; `pixels` is uint8 [n, S, S, 3], zeros where `error_code` is set."""

PER_IMAGE = ("image_id", "uri", "size_bytes", "etag")
"""Plan facts that a chunk carries for each of its images; null where a plan has no such column."""


@dataclass(frozen=True, kw_only=True, slots=True)
class ReadPlan:
    """Turns shard numbers into STRETCH rows."""

    output: str
    store: StoreConfig
    chunk_rows: int
    stretch_chunks: int
    """Chunks per row: the driver remembers every row, and a fetch task overlaps its chunks."""

    def __call__(self, shards: pa.Table) -> Iterator[pa.Table]:
        """Yield one row per stretch of each shard."""
        store = open_store(self.output, self.store)
        for shard in shards["shard"].to_pylist():
            plan = read_plan_shard(store, shard)
            starts = cut_chunks(plan, max_rows=self.chunk_rows, max_bytes=CHUNK_SOURCE_BYTES)
            num_chunks = len(starts) - 1
            for first in range(0, num_chunks, self.stretch_chunks):
                bounds = starts[first : first + self.stretch_chunks + 1]
                images = plan.slice(bounds[0], bounds[-1] - bounds[0])
                row: dict[str, Any] = {"shard": shard, "num_chunks": num_chunks}
                row |= {"first_chunk": first, "starts": bounds}
                row |= {name: _column(images, name) for name in PER_IMAGE}
                yield pa.Table.from_pylist([row], STRETCH)


def _column(images: pa.Table, name: str) -> list[Any]:
    known = name in images.column_names
    return images[name].to_pylist() if known else [None] * images.num_rows


def split_stretch(stretch: pa.Table) -> list[dict[str, Any]]:
    """Return the chunks of a one-row STRETCH table, as rows of CHUNK_PIXELS without pixels."""
    (row,) = stretch.to_pylist()
    chunks: list[dict[str, Any]] = []
    for index, (start, stop) in enumerate(pairwise(row["starts"])):
        chunk = {"shard": row["shard"], "num_chunks": row["num_chunks"], "first_row": start}
        chunk["chunk"] = row["first_chunk"] + index
        first = row["starts"][0]
        chunk |= {name: row[name][start - first : stop - first] for name in PER_IMAGE}
        chunks.append(chunk)
    return chunks


def with_pixels(row: dict[str, Any], pixels: np.ndarray) -> pa.Table:
    """Return a CHUNK_PIXELS table of one row.

    Args:
        row: every column but `pixels`.
        pixels: uint8 [n, S, S, 3].
    """
    facts = pa.Table.from_pylist([row], pa.schema(list(CHUNK_PIXELS)[:-1]))
    ends = pa.py_buffer(np.array([0, pixels.nbytes], np.int64))
    # Made from buffers, so that the pixels are not copied.
    column = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(pixels)])
    return facts.append_column(CHUNK_PIXELS.field("pixels"), column)


def pixels_of(chunk: pa.Table, image_size_px: int) -> np.ndarray:
    """Return uint8 [n, S, S, 3] of a CHUNK_PIXELS table of one row: a view, read-only.

    By way of the buffers: a scalar of Arrow would be a copy.
    """
    column = chunk["pixels"]
    (array,) = (part for part in column.chunks if len(part))
    start, stop = np.frombuffer(array.buffers()[1], np.int64)[array.offset : array.offset + 2]
    flat = np.frombuffer(array.buffers()[2], np.uint8, stop - start, start)
    return flat.reshape(-1, image_size_px, image_size_px, 3)

"""What every writer reads: the rows of a finished run; and how its files appear."""

import os
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa

from ram_ray.storage.stores import Store
from ram_ray.tagging.outputs.published_rows import published_tags, read_finished_run
from ram_ray.tagging.tables import tags_schema


@dataclass(frozen=True, kw_only=True, slots=True)
class ExportReport:
    """What was written."""

    images: int
    """Images of the run that the files hold."""
    files: int = 1
    """Files written or changed."""
    left_out: dict[str, int] = field(default_factory=dict)
    """Reason to number of images that could not be written; a sentence's part, for people."""


class FinishedRun:
    """The rows of a finished run, in the order of its plan; read again by each iteration.

    Raises:
        ConfigError: there is no finished run.
    """

    def __init__(self, store: Store) -> None:
        self.record, self._shards = read_finished_run(store)
        captions, changes = self.record.caption is not None, bool(self.record.changed_etag)
        self.schema = tags_schema(captions=captions, changes=changes)
        self._store = store

    def tables(self) -> Iterator[pa.Table]:
        """Yield a table of `self.schema` per shard; one shard is in memory at a time."""
        for _, table in published_tags(self._store, self._shards):
            yield table.select(self.schema.names)

    def shards(self) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Yield number and rows of each shard; scores with the digits that a float32 has."""
        for shard, table in published_tags(self._store, self._shards):
            rows = table.select(self.schema.names).to_pylist()
            yield shard, [row | {"scores": [_short(one) for one in row["scores"]]} for row in rows]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a dict per image: the columns of TAGS, and `caption` where the run has captions."""
        for _, rows in self.shards():
            yield from rows


def _short(score: float) -> float:
    return float(f"{score:.7g}")


def without_suffix(image_id: str) -> str:
    """Return an image's name as tools pair by it: `a/b.left.jpg` is `a/b.left`."""
    suffix = PurePosixPath(image_id).suffix
    return image_id.removesuffix(suffix) if suffix else image_id


class LeftOut:
    """Counts images that a format cannot hold, by reason."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def __call__(self, reason: str) -> None:
        self.counts[reason] += 1


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; `path` itself appears, replaced, when the block has ended well."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)

"""What every writer reads: the rows of a finished run; and how its files appear."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import pyarrow as pa

from ram_ray.config import require
from ram_ray.errors import ConfigError
from ram_ray.storage.stores import Store
from ram_ray.tagging.outputs.published_rows import published_tags, read_finished_run
from ram_ray.tagging.outputs.rethresholding import above
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
    """The rows of a finished run, in the order of its plan; read again by each iteration."""

    def __init__(self, store: Store, min_score: float | None = None) -> None:
        """Open the run; `min_score`: without the tags whose score is not above it.

        Raises:
            ConfigError: there is no finished run, or it did not keep scores down to `min_score`.
        """
        self.record, self._shards = read_finished_run(store)
        floor = self.record.score_floor
        if min_score is not None:
            require(0 <= min_score <= 1, "min_score", min_score, "between 0 and 1")
            if floor is not None and min_score < floor:
                raise ConfigError(
                    f"min_score is {min_score:g}, but {store.url} kept scores from {floor:g} up "
                    "only."
                )
        self._least = None if min_score is None else np.array([min_score], np.float32)
        captions, changes = self.record.caption is not None, bool(self.record.changed_etag)
        self.schema = tags_schema(captions=captions, changes=changes)
        self._store = store

    def tables(self) -> Iterator[pa.Table]:
        """Yield a table of `self.schema` per shard; one shard is in memory at a time."""
        for _, table in self._numbered():
            yield table

    def shards(self) -> Iterator[tuple[int, list[dict[str, Any]]]]:
        """Yield number and rows of each shard; scores with the digits that a float32 has."""
        for shard, table in self._numbered():
            rows = table.to_pylist()
            yield shard, [row | {"scores": [_short(one) for one in row["scores"]]} for row in rows]

    def rows(self) -> Iterator[dict[str, Any]]:
        """Yield a dict per image: the columns of TAGS, and `caption` where the run has captions."""
        for _, rows in self.shards():
            yield from rows

    def _numbered(self) -> Iterator[tuple[int, pa.Table]]:
        for shard, table in published_tags(self._store, self._shards):
            table = table.select(self.schema.names)
            yield shard, table if self._least is None else above(table, self._least)


def _short(score: float) -> float:
    return float(f"{score:.7g}")


def without_suffix(image_id: str) -> str:
    """Return an image's name as tools pair by it: `a/b.left.jpg` is `a/b.left`."""
    suffix = PurePosixPath(image_id).suffix
    return image_id.removesuffix(suffix) if suffix else image_id


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Give a path to write to; `path` itself appears, replaced, when the block has ended well."""
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield part
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)

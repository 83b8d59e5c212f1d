"""From pixels to rows: tag a chunk, hand its rows to the shard's committer."""

import logging
from typing import Any

import numpy as np
import pyarrow as pa

from ram_ray.errors import ImageErrorCode
from ram_ray.runs.committer import Begin
from ram_ray.tagging.tables import (
    CAPTION,
    CAPTIONED_ROWS,
    CHANGED_ETAG,
    QUARANTINE_ROWS,
    REMARKS,
    TAG_ROWS,
)
from ram_ray.workers.tagger import TaggerOptions, load_tagger

_log = logging.getLogger(__name__)


class TagImages:
    """Tags CHUNK_PIXELS, hands the rows to the shard's committer, returns one summary row."""

    def __init__(self, options: TaggerOptions, committers: list[Any]) -> None:
        import ray

        self._ray = ray
        self._committers = committers
        self._tagger, device = load_tagger(options)
        gpu_ids = ",".join(str(gpu) for gpu in ray.get_gpu_ids())
        # Not waited for: a committer that died leaves a note to the user unsaid, no more.
        committers[0].note_tagger.remote(device, gpu_ids)

    def __call__(self, chunk: pa.Table) -> pa.Table:
        """Tag the one chunk in `chunk` unless its committer has it already."""
        from ray.exceptions import RayActorError

        row = {name: chunk[name][0].as_py() for name in chunk.column_names if name != "pixels"}
        committer = self._committers[row["shard"] % len(self._committers)]
        where = (row["shard"], row["chunk"])
        try:
            begin: Begin = self._ray.get(committer.begin.remote(*where, row["num_chunks"]))
            if begin.done:
                return _summary(row, begin.num_tagged, begin.num_quarantined)
            images = self._pixels(chunk, len(row["uri"]))
            found = self._tag(images, row, begin, committer)
            tags, quarantine = to_rows(row, found, captions=self._tagger.writes_captions)
            self._ray.get(committer.add.remote(*where, row["num_chunks"], tags, quarantine))
        except RayActorError:
            # The committer died: its open shards are redone in the next round.
            return _summary(row, 0, 0)
        return _summary(row, tags.num_rows, quarantine.num_rows)

    def _tag(
        self, images: np.ndarray, row: dict[str, Any], begin: Begin, committer: Any
    ) -> list[Any]:
        from ram_model import ModelOutputError

        if not begin.one_by_one:
            try:
                return self._tagger(images)
            except ModelOutputError as error:
                _log.warning("A batch gave no finite scores (%s): tagging it one by one.", error)
        return self._tag_one_by_one(images, row, begin, committer)

    def _pixels(self, chunk: pa.Table, count: int) -> np.ndarray:
        size = self._tagger.image_size_px
        flat = np.frombuffer(chunk["pixels"][0].as_buffer(), np.uint8)
        return flat.reshape(count, size, size, 3)

    def _tag_one_by_one(
        self, images: np.ndarray, row: dict[str, Any], begin: Begin, committer: Any
    ) -> list[Any]:
        """Tag each image alone, in its own place of the batch, so that its scores stay the same."""
        from ram_model import ModelOutputError

        found: list[Any] = [None] * len(images)
        for position in range(len(images)):
            if row["error_code"][position]:
                continue
            if position in begin.condemned:
                _fail(row, position, "A model process died on it, repeatedly.")
                continue
            self._ray.get(committer.at.remote(row["shard"], row["chunk"], position))
            alone = np.zeros_like(images)
            alone[position] = images[position]
            try:
                found[position] = self._tagger(alone)[position]
            except ModelOutputError as error:
                _fail(row, position, str(error))
        return found


def _summary(row: dict[str, Any], tagged: int, quarantined: int) -> pa.Table:
    """Return the row that tells Ray Data that a chunk is done; the driver never reads it."""
    counts = {"shard": row["shard"], "chunk": row["chunk"]}
    return pa.Table.from_pylist([counts | {"tagged": tagged, "quarantined": quarantined}])


def _fail(row: dict[str, Any], position: int, message: str) -> None:
    row["error_code"][position] = ImageErrorCode.MODEL_ERROR.value
    row["message"][position] = message


def to_rows(
    row: dict[str, Any], found: list[Any], *, captions: bool = False
) -> tuple[pa.Table, pa.Table]:
    """Split a tagged chunk into TAG_ROWS (with captions: CAPTIONED_ROWS) and QUARANTINE_ROWS.

    Args:
        row: a CHUNK_PIXELS row without its pixels.
        found: per image a `ram_model.Tags`; ignored where `error_code` is set.
    """
    tags: list[dict[str, Any]] = []
    quarantine: list[dict[str, Any]] = []
    for position, image_id in enumerate(row["image_id"]):
        key = {"image_id": image_id, "uri": row["uri"][position]}
        key["row"] = row["first_row"] + position
        if row["error_code"][position]:
            facts = ("error_code", "message", "attempts", "size_bytes")
            quarantine.append(key | {name: row[name][position] for name in facts})
        else:
            result = found[position]
            tags.append(
                key
                | {"width": row["width"][position], "height": row["height"][position]}
                | {"tags": result.names, "tag_ids": result.tag_ids, "scores": result.scores}
                | ({CAPTION.name: result.caption} if captions else {})
                | {name: row[name][position] for name in (REMARKS.name, CHANGED_ETAG.name)}
            )
    columns = CAPTIONED_ROWS if captions else TAG_ROWS
    return pa.Table.from_pylist(tags, columns), pa.Table.from_pylist(quarantine, QUARANTINE_ROWS)

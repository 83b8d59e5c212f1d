"""From pixels to rows: tag a chunk, hand its rows to the shard's committer."""

import logging
from typing import Any

import numpy as np
import pyarrow as pa

from ram_ray.runs.committer import Begin
from ram_ray.tagging.tagged_rows import to_rows
from ram_ray.workers.chunks import pixels_of
from ram_ray.workers.tagger import TaggerOptions, load_tagger
from ram_ray.workers.turns import Turns

CHUNKS_IN_FLIGHT = 3
"""Calls of one `TagImages` at a time: one in the model, one asking, one handing its rows over."""

_log = logging.getLogger(__name__)


class TagImages:
    """Tags CHUNK_PIXELS, hands the rows to the shard's committer, returns one summary row.

    Called by CHUNKS_IN_FLIGHT threads, so that the model never waits for a committer. The rules
    that keep it exact (docs/how-it-works.md, A.5): what is asked ahead counts nothing; `begin`
    counts when the model call starts; the summary comes after the committer has the rows.
    """

    def __init__(self, options: TaggerOptions, committers: list[Any]) -> None:
        import ray

        self._ray = ray
        self._committers = committers
        self._turns = Turns()
        self._tagger, device = load_tagger(options)
        gpu_ids = ",".join(str(gpu) for gpu in ray.get_gpu_ids())
        # Not waited for: a committer that died leaves a note to the user unsaid, no more.
        committers[0].note_tagger.remote(device, gpu_ids)

    def __call__(self, chunk: pa.Table) -> pa.Table:
        """Tag the one chunk in `chunk` unless its committer has it already."""
        from ray.exceptions import RayActorError

        facts = chunk.drop_columns("pixels")
        shard, number, num_chunks = (
            facts[name][0].as_py() for name in ("shard", "chunk", "num_chunks")
        )
        committer = self._committers[shard % len(self._committers)]
        where = (shard, number, num_chunks)
        try:
            known: Begin = self._ray.get(committer.look.remote(*where))
            if known.done:
                return _summary(shard, number, known.num_tagged, known.num_quarantined)
            images = pixels_of(chunk, self._tagger.image_size_px)
            with self._turns.chunk(alone=known.one_by_one):
                found, failed = self._tag(images, facts, known, committer, where)
                captions = self._tagger.writes_captions
                tags, quarantine = to_rows(facts, found, failed, captions=captions)
                self._ray.get(committer.add.remote(*where, tags, quarantine))
        except RayActorError:
            # The committer died: its open shards are redone in the next round.
            return _summary(shard, number, 0, 0)
        return _summary(shard, number, tags.num_rows, quarantine.num_rows)

    def _tag(
        self,
        images: np.ndarray,
        facts: pa.Table,
        known: Begin,
        committer: Any,
        where: tuple[int, int, int],
    ) -> tuple[list[Any], dict[int, str]]:
        """Return the tags by position, and why there are none where the model failed."""
        from ram_model import ModelOutputError

        with self._turns.model:
            begun = committer.begin.remote(*where)
            if known.met_before:
                self._ray.get(begun)
            if not known.one_by_one:
                # Otherwise not waited for: it leaves while the model works.
                try:
                    return self._tagger(images), {}
                except ModelOutputError as error:
                    _log.warning("A batch gave no finite scores (%s): one by one now.", error)
            begin: Begin = self._ray.get(begun)
            good = facts["error_code"].combine_chunks().flatten().is_null().to_pylist()
            return self._tag_one_by_one(images, good, begin, committer, where)

    def _tag_one_by_one(
        self,
        images: np.ndarray,
        good: list[bool],
        begin: Begin,
        committer: Any,
        where: tuple[int, int, int],
    ) -> tuple[list[Any], dict[int, str]]:
        """Tag each image alone, in its own place of the batch, so that its scores stay the same."""
        from ram_model import ModelOutputError

        found: list[Any] = [None] * len(images)
        failed: dict[int, str] = {}
        shard, number, _ = where
        for position in np.flatnonzero(good).tolist():
            if position in begin.condemned:
                failed[position] = "A model process died on it, repeatedly."
                continue
            self._ray.get(committer.at.remote(shard, number, position))
            alone = np.zeros_like(images)
            alone[position] = images[position]
            try:
                found[position] = self._tagger(alone)[position]
            except ModelOutputError as error:
                failed[position] = str(error)
        return found, failed


def _summary(shard: int, chunk: int, tagged: int, quarantined: int) -> pa.Table:
    """Return the row that tells Ray Data that a chunk is done; the driver never reads it."""
    counts = {"tagged": tagged, "quarantined": quarantined}
    return pa.Table.from_pylist([{"shard": shard, "chunk": chunk} | counts])

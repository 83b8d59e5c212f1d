"""The stages of tagging, as classes and functions given to Ray Data; each is testable without Ray.

The unit is the chunk: a few dozen images that are decoded and tagged together, one row between
stages. Ray moves whole rows, so a chunk is never mixed with another, and results do not depend on
scheduling.
"""

import logging
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyarrow as pa

from ram_ray.committer import CAPTIONED_ROWS, QUARANTINE_ROWS, TAG_ROWS, Begin
from ram_ray.config import DecodeConfig, StoreConfig
from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.images import Decoder
from ram_ray.schema import CAPTION
from ram_ray.storage.fetching import Fetched, Fetcher, FetchLimits
from ram_ray.storage.plans import cut_chunks, read_plan_shard
from ram_ray.storage.stores import open_store

_log = logging.getLogger(__name__)

CHUNK_SOURCE_BYTES = 64 * 2**20
"""Source bytes above which a chunk is cut before the model's batch is full (mechanisms A.1)."""

STRETCH = pa.schema(
    [
        ("shard", pa.int32()),
        ("num_chunks", pa.int32()),  # of the whole shard
        ("first_chunk", pa.int32()),
        ("starts", pa.list_(pa.int32())),  # plan row of each chunk's first image, and the end
        ("image_id", pa.list_(pa.string())),
        ("uri", pa.list_(pa.string())),
        ("size_bytes", pa.list_(pa.int64())),
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
        ("width", pa.list_(pa.int32())),
        ("height", pa.list_(pa.int32())),
        ("error_code", pa.list_(pa.string())),
        ("message", pa.list_(pa.string())),
        ("attempts", pa.list_(pa.int32())),
        ("pixels", pa.large_binary()),
    ]
)
"""A decoded chunk; `pixels` is uint8 [n, S, S, 3], zeros where `error_code` is set."""


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
                row |= {name: images[name].to_pylist() for name in _PER_IMAGE}
                yield pa.Table.from_pylist([row], STRETCH)


class FetchAndDecode:
    """Turns STRETCH into CHUNK_PIXELS: fetches concurrently, decodes in a child process."""

    def __init__(
        self, store: StoreConfig, limits: FetchLimits, decode: DecodeConfig, image_size_px: int
    ) -> None:
        self._fetcher = Fetcher(store, limits)
        self._decoder = Decoder(image_size_px, decode)
        self._max_bytes = decode.max_image_bytes
        self._size = image_size_px

    def __call__(self, stretch: pa.Table) -> Iterator[pa.Table]:
        """Yield the chunks of the one stretch in order; the next is fetched while one decodes."""
        chunks = split_stretch(stretch)
        fetches = self._start(chunks[0])
        for chunk, following in zip(chunks, [*chunks[1:], None], strict=True):
            next_fetches = self._start(following) if following else []
            yield self._decode(chunk, fetches)
            fetches = next_fetches

    def close(self) -> None:
        """End the decoder's process and the fetcher's thread; Ray just ends the whole worker."""
        self._decoder.close()
        self._fetcher.close()

    def _start(self, chunk: dict[str, Any]) -> list[Future[Fetched]]:
        fits = [size <= self._max_bytes for size in chunk["size_bytes"]]
        wanted = [uri for uri, fit in zip(chunk["uri"], fits, strict=True) if fit]
        started = iter(self._fetcher.fetch_all(wanted))
        return [
            next(started) if fit else _too_large(size, self._max_bytes)
            for size, fit in zip(chunk["size_bytes"], fits, strict=True)
        ]

    def _decode(self, chunk: dict[str, Any], fetches: list[Future[Fetched]]) -> pa.Table:
        """Decode a chunk; a failed image is a code, a message and zero pixels."""
        pixels = np.zeros((len(fetches), self._size, self._size, 3), np.uint8)
        facts: dict[str, list[Any]] = {
            name: [] for name in ("width", "height", "error_code", "message", "attempts")
        }
        for position in range(len(fetches)):
            fetched = fetches[position].result()
            fetches[position] = _NOTHING  # its bytes are freed at once
            width = height = 0
            error = fetched.error
            if fetched.data is not None:
                try:
                    image = self._decoder.decode(fetched.data)
                    pixels[position], width, height = image.pixels, image.width, image.height
                except ImageError as caught:
                    error = caught
            facts["width"].append(width)
            facts["height"].append(height)
            facts["error_code"].append(error and error.code.value)
            facts["message"].append(error and error.message)
            facts["attempts"].append(fetched.attempts)
        return _with_pixels(chunk | facts, pixels)


_PER_IMAGE = ("image_id", "uri", "size_bytes")
_NOTHING: Future[Fetched] = Future()


def split_stretch(stretch: pa.Table) -> list[dict[str, Any]]:
    """Return the chunks of a one-row STRETCH table, as rows of CHUNK_PIXELS without pixels."""
    (row,) = stretch.to_pylist()
    chunks: list[dict[str, Any]] = []
    for index, (start, stop) in enumerate(pairwise(row["starts"])):
        chunk = {"shard": row["shard"], "num_chunks": row["num_chunks"], "first_row": start}
        chunk["chunk"] = row["first_chunk"] + index
        first = row["starts"][0]
        chunk |= {name: row[name][start - first : stop - first] for name in _PER_IMAGE}
        chunks.append(chunk)
    return chunks


def _with_pixels(row: dict[str, Any], pixels: np.ndarray) -> pa.Table:
    facts = pa.Table.from_pylist([row], pa.schema(list(CHUNK_PIXELS)[:-1]))
    ends = pa.py_buffer(np.array([0, pixels.nbytes], np.int64))
    # Made from buffers, so that the pixels are not copied.
    column = pa.Array.from_buffers(pa.large_binary(), 1, [None, ends, pa.py_buffer(pixels)])
    return facts.append_column(CHUNK_PIXELS.field("pixels"), column)


def _too_large(size_bytes: int, max_bytes: int) -> Future[Fetched]:
    message = f"{size_bytes} bytes; the limit is {max_bytes}."
    refused: Future[Fetched] = Future()
    refused.set_result(Fetched(None, ImageError(ImageErrorCode.TOO_LARGE, message), 0))
    return refused


@dataclass(frozen=True, kw_only=True, slots=True)
class TaggerOptions:
    """What a model process needs to make the run's `Tagger`; small, for it travels to actors."""

    model: str
    device: str
    """"cpu", "cuda", or "auto": the GPU if this process sees one."""
    threads: int | None
    """Of torch on a CPU; None: torch's own choice."""
    precision: str
    batch_size: int
    tags: tuple[str, ...] | None
    threshold: float | tuple[float, ...] | None
    top_k: int | None
    score_floor: float | None
    text_encoder: str | None = None
    descriptions: str | None = None
    open_set_threshold: float | None = None
    caption: bool = False
    caption_tags: tuple[str, ...] | None = None
    caption_beams: int | None = None


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


def load_tagger(options: TaggerOptions) -> tuple[Any, str]:
    """Load the model once; return it with the device it really runs on."""
    import torch

    from ram_model import CaptionOptions, Tagger

    if options.threads:
        # Ray sets OMP_NUM_THREADS to the reserved CPUs, which are bookkeeping here.
        torch.set_num_threads(options.threads)
    device = options.device
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    captions = None
    if options.caption:
        beams = {} if options.caption_beams is None else {"num_beams": options.caption_beams}
        captions = CaptionOptions(tags=options.caption_tags, **beams)
    tagger = Tagger.load(
        options.model,
        device=device,
        precision=options.precision,
        batch_size=options.batch_size,
        tags=options.tags,
        threshold=options.threshold,
        top_k=options.top_k,
        score_floor=options.score_floor,
        text_encoder=options.text_encoder,
        descriptions=options.descriptions,
        open_set_threshold=options.open_set_threshold,
        captions=captions,
    )
    return tagger, device


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
            )
    columns = CAPTIONED_ROWS if captions else TAG_ROWS
    return pa.Table.from_pylist(tags, columns), pa.Table.from_pylist(quarantine, QUARANTINE_ROWS)

"""What each worker trains on: its share of every step, fetched and decoded in order.

A row between stages is one part: the images of one forward pass. Ray moves whole rows and keeps
their order, so parts are never mixed, and the feed can say of each image where in the run it is.
"""

import json
import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any, NamedTuple, cast

import numpy as np
import pyarrow as pa

from ram_model.training.augmentation import ViewRequest
from ram_ray.config import DecodeConfig, StoreConfig
from ram_ray.errors import ImageError
from ram_ray.images.decoder import Decoder
from ram_ray.training.data.order import Plan
from ram_ray.training.data.reading import SampleReader, ShardChangedError

WAVE_PARTS = 8192
"""Most parts per Ray Data execution: bounds what its driver, the worker, must remember. Each
execution starts its processes anew, so it should last for minutes."""
BLOCK_PARTS = 4
"""Parts that one call of a decoder process takes on."""

SHARD_CHANGED = "shard_changed"
"""Code of an image whose shard is not the one that was indexed: no error of the image's own."""

_PLACES = ("image_id", "uri", "kind", "offset", "size")
DECODED_PART = pa.schema(
    [
        ("step", pa.int64()),
        ("part", pa.int32()),
        ("num_parts", pa.int32()),
        ("sample", pa.list_(pa.int64())),
        ("error_code", pa.list_(pa.string())),
        ("message", pa.list_(pa.string())),
        ("crops", pa.large_binary()),
        ("pixels", pa.large_binary()),
    ]
)
"""A part with its pixels and crops, as bytes of the arrays in `Part`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FeedConfig:
    """How samples become pixels."""

    seed: int
    augment: Any
    image_size_px: int
    store: StoreConfig
    decode: DecodeConfig


class Part(NamedTuple):
    """The images of one forward pass of one worker."""

    step: int
    samples: np.ndarray
    """int64 [B], rows of the sample table; may be empty."""
    pixels: np.ndarray
    """uint8 [B, S, S, 3], zeros where the image could not be had."""
    crops: np.ndarray
    """float64 [B, 5]: left, top, width, height as shares of the image, 1 where mirrored."""
    errors: list[tuple[str, str] | None]
    """Code and message of each image that could not be had."""


def plan_parts(
    plan: Plan, samples: pa.Table, *, rank: int, world: int, micro_batch_size: int, first_step: int
) -> Iterator[dict[str, Any]]:
    """Yield one row per forward pass of a worker, from a step to the end of the run.

    A row names step, epoch, part of the step, number of its parts, and per image its row in the
    table of samples and its place in the store.
    """
    places = samples.select(list(_PLACES))
    for step in range(first_step, plan.num_steps):
        num_parts = plan.num_parts(step, world, micro_batch_size)
        pieces = np.array_split(plan.share(step, rank, world), num_parts)
        for part, piece in enumerate(pieces):
            row = {"step": step, "epoch": plan.epoch_of(step), "part": part}
            row |= {"num_parts": num_parts, "sample": piece.tolist()}
            yield row | places.take(piece).to_pydict()


class DecodeParts:
    """Turns planned parts into DECODED_PART: reads concurrently, decodes in a child process."""

    def __init__(self, config: FeedConfig) -> None:
        self._config = config
        self._reader = SampleReader(config.store)
        self._decoder = Decoder(config.image_size_px, config.decode)

    def __call__(self, parts: pa.Table) -> pa.Table:
        """Return one row for each; a planned part comes as JSON."""
        return pa.concat_tables([self.decode(json.loads(p)) for p in parts["part"].to_pylist()])

    def close(self) -> None:
        """End the decoder's process and the reader's threads."""
        self._decoder.close()
        self._reader.close()

    def decode(self, part: dict[str, Any]) -> pa.Table:
        """Return a part with pixels; an image that cannot be had is a code and zero pixels."""
        count, size = len(part["sample"]), self._config.image_size_px
        pixels = np.zeros((count, size, size, 3), np.uint8)
        crops = np.tile(np.array([0, 0, 1, 1, 0], np.float64), (count, 1))
        places = [{name: part[name][i] for name in _PLACES} for i in range(count)]
        codes: list[str | None] = []
        messages: list[str | None] = []
        for row, data in enumerate(self._reader.read_all(places)):
            error = data if isinstance(data, ImageError) else None
            try:
                if isinstance(data, bytes):
                    image = self._decoder.decode(data, self._view(part, row))
                    pixels[row], crops[row] = image.pixels, (*image.crop, image.mirrored)
            except ImageError as caught:
                error = caught
            if isinstance(data, ShardChangedError):
                codes.append(SHARD_CHANGED)
                messages.append(str(data))
                continue
            codes.append(error and error.code.value)
            messages.append(error and error.message)
        facts = {name: part[name] for name in ("step", "part", "num_parts", "sample")}
        facts |= {"error_code": codes, "message": messages}
        facts |= {"crops": crops.tobytes(), "pixels": pixels.tobytes()}
        return pa.Table.from_pylist([facts], DECODED_PART)

    def _view(self, part: dict[str, Any], row: int) -> ViewRequest:
        wanted = self._config
        return ViewRequest(wanted.augment, wanted.seed, part["epoch"], part["image_id"][row])


def read_steps(
    rows: Iterable[dict[str, Any]], config: FeedConfig, *, num_decoders: int, cpus: float
) -> Iterator[list[Part]]:
    """Yield the parts of each step, in order.

    Args:
        rows: from `plan_parts`.
        num_decoders: processes of this worker; 0: decode here, without Ray Data.
        cpus: of each of them.
    """
    if num_decoders:
        decoded = _decode_with_ray_data(rows, config, num_decoders, cpus)
    else:
        decoded = _decode_here(rows, config)
    step: list[Part] = []
    for asked, row in decoded:
        if (row["step"], row["part"], row["sample"]) != (
            asked["step"], asked["part"], asked["sample"],
        ):  # fmt: skip
            raise AssertionError(f"the feed gave step {row['step']} for {asked['step']}")
        step.append(_part_of(row, config.image_size_px))
        if len(step) == asked["num_parts"]:
            yield step
            step = []


def _decode_here(
    rows: Iterable[dict[str, Any]], config: FeedConfig
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    decode = DecodeParts(config)
    try:
        for row in rows:
            yield row, decode.decode(row).to_pylist()[0]
    finally:
        decode.close()


def _decode_with_ray_data(
    rows: Iterable[dict[str, Any]], config: FeedConfig, num_decoders: int, cpus: float
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    import ray
    from ray.data import ActorPoolStrategy, ExecutionOptions, ExecutionResources

    remaining = iter(rows)
    while wave := list(islice(remaining, WAVE_PARTS)):
        # as texts, from items: from_arrow would ask for a whole CPU to look at the tables
        items = [{"part": json.dumps(row)} for row in wave]
        context = ray.data.DataContext.get_current()
        context.enable_progress_bars = False
        limits = ExecutionResources(cpu=num_decoders * cpus)
        context.execution_options = ExecutionOptions(preserve_order=True, resource_limits=limits)
        num_blocks = math.ceil(len(items) / BLOCK_PARTS)
        parts = ray.data.from_items(items, override_num_blocks=num_blocks).map_batches(
            DecodeParts,
            fn_constructor_args=(config,),
            batch_size=1,
            batch_format="pyarrow",
            zero_copy_batch=True,
            num_cpus=cpus,
            compute=ActorPoolStrategy(size=num_decoders),
        )
        decoded = parts.iter_batches(batch_size=1, batch_format="pyarrow", prefetch_batches=2)
        for row, table in zip(wave, cast(Iterable[pa.Table], decoded), strict=True):
            yield row, table.to_pylist()[0]


def _part_of(row: dict[str, Any], size: int) -> Part:
    count = len(row["sample"])
    errors = [
        None if code is None else (code, message)
        for code, message in zip(row["error_code"], row["message"], strict=True)
    ]
    return Part(
        step=row["step"],
        samples=np.array(row["sample"], np.int64),
        pixels=np.frombuffer(row["pixels"], np.uint8).reshape(count, size, size, 3),
        crops=np.frombuffer(row["crops"], np.float64).reshape(count, 5),
        errors=errors,
    )

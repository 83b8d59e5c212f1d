"""A few images of a plan through every stage of a run, in this process: what one of them costs."""

import math
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import fmean, stdev
from typing import Any

import numpy as np
import pyarrow as pa

from ram_ray.cluster import CPU_BATCH, GPU_BATCH
from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.images.decoder import Decoder
from ram_ray.runs.plans import PlanSummary, read_plan_shard, to_parquet
from ram_ray.storage.fetching import Fetched, Fetcher, FetchLimits
from ram_ray.storage.stores import Store
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import tagger_options, threshold_option
from ram_ray.tagging.tables import tags_schema
from ram_ray.workers.tagger import choose_device, load_tagger

MAX_SHARDS_READ = 16
"""Of the plan: a sample needs no more, whatever the number of images."""
MODEL_TIME_S = 3.0
"""The model is called until it has run this long, but at least MIN_CALLS times."""
MIN_CALLS = 3


@dataclass(frozen=True, kw_only=True, slots=True)
class Sample:
    """What some images of the plan took on this machine."""

    num_images: int
    failed_by_code: dict[str, int]
    """Of them: those that would be quarantined."""
    device: str
    """cpu or cuda."""
    batch_size: int
    """Images per model call."""
    fetch_s: float
    """Per image, with `fetch_concurrency` requests in flight."""
    decode_s: float
    """Per image, on one core; 0 where no image could be decoded."""
    decode_error_s: float
    """Standard error of that mean."""
    model_s: float
    """Per image on one device, in full batches; 0 where no image could be decoded."""
    model_error_s: float
    row_bytes: float
    """Per image in tags/, compressed as it is there."""

    @property
    def num_failed(self) -> int:
        """Images that would be quarantined."""
        return sum(self.failed_by_code.values())


def measure_sample(store: Store, plan: PlanSummary, config: TagConfig, size: int) -> Sample:
    """Fetch, decode and tag some images, spread over the plan.

    Args:
        store: the output, which holds the plan.
        size: images at most.
    """
    rows = choose_rows(store, plan, size)
    tagger, device, batch_size = _load(config)
    failed: Counter[str] = Counter()
    fetched, fetch_s = _fetch(rows, config)
    pixels, sizes, decode_times = _decode(fetched, tagger.image_size_px, config, failed)
    model_times: list[float] = []
    row_bytes = 0.0
    if pixels:
        model_times, found = _tag(tagger, pixels, batch_size)
        row_bytes = _row_bytes(rows, sizes, found)
    decode_s, decode_error_s = _mean_and_error(decode_times)
    model_s, model_error_s = _mean_and_error(model_times)
    return Sample(
        num_images=len(rows),
        failed_by_code=dict(failed.most_common()),
        device=device,
        batch_size=batch_size,
        fetch_s=fetch_s,
        decode_s=decode_s,
        decode_error_s=decode_error_s,
        model_s=model_s,
        model_error_s=model_error_s,
        row_bytes=row_bytes,
    )


def choose_rows(store: Store, plan: PlanSummary, size: int) -> list[dict[str, Any]]:
    """Return PLAN rows, evenly spread over the plan."""
    shards = _spread(range(plan.shards), min(MAX_SHARDS_READ, size))
    each = math.ceil(size / len(shards))
    rows: list[dict[str, Any]] = []
    for shard in shards:
        table = read_plan_shard(store, shard)
        rows += table.take(_spread(range(table.num_rows), each)).to_pylist()
    return [rows[at] for at in _spread(range(len(rows)), size)]


def _spread(items: Sequence[int], at_most: int) -> list[int]:
    if len(items) <= at_most:
        return list(items)
    return [items[position * len(items) // at_most] for position in range(at_most)]


def _load(config: TagConfig) -> tuple[Any, str, int]:
    # On this machine's GPU if it has one: the run's may be elsewhere.
    device = choose_device("cpu" if config.device == "cpu" else "auto")
    batch_size = config.batch_size or (GPU_BATCH if device == "cuda" else CPU_BATCH)
    options = tagger_options(
        config,
        threshold=threshold_option(config),
        device=device,
        threads=None,
        batch_size=batch_size,
    )
    tagger, _ = load_tagger(options)
    return tagger, device, batch_size


def _fetch(rows: list[dict[str, Any]], config: TagConfig) -> tuple[list[Fetched], float]:
    """Return what became of each fetch, and the time per image, many at a time."""
    limit = config.decode.max_image_bytes
    fetcher = Fetcher(
        config.store, FetchLimits(config.fetch_timeout_s, limit, config.fetch_concurrency)
    )
    started = time.monotonic()
    try:
        fetched = [each.result() for each in fetcher.fetch_all([row["uri"] for row in rows])]
    finally:
        fetcher.close()
    return fetched, (time.monotonic() - started) / len(rows)


def _decode(
    fetched: list[Fetched], size_px: int, config: TagConfig, failed: Counter[str]
) -> tuple[list[np.ndarray], list[tuple[int, int]], list[float]]:
    """Return pixels [S, S, 3] and (width, height) of each good image, and all their times."""
    pixels: list[np.ndarray] = []
    sizes: list[tuple[int, int]] = []
    times: list[float] = []
    with Decoder(size_px, config.decode) as decoder:
        with suppress(ImageError, StopIteration):  # its child process starts: no image's time
            decoder.decode(next(one.data for one in fetched if one.data is not None))
        for one in fetched:
            if one.data is None:
                failed[one.error.code.value if one.error else ImageErrorCode.FETCH_FAILED] += 1
                continue
            try:
                started = time.monotonic()
                image = decoder.decode(one.data)
            except ImageError as error:
                failed[error.code.value] += 1
                continue
            times.append(time.monotonic() - started)
            pixels.append(image.pixels)
            sizes.append((image.width, image.height))
    return pixels, sizes, times


def _tag(tagger: Any, pixels: list[np.ndarray], batch_size: int) -> tuple[list[float], list[Any]]:
    """Return the time per image of some calls in full batches, and the tags of the first images."""
    batch = np.stack([pixels[at % len(pixels)] for at in range(batch_size)])
    found = tagger(batch)  # the first call also allocates and warms up
    times: list[float] = []
    while len(times) < MIN_CALLS or sum(times) * batch_size < MODEL_TIME_S:
        started = time.monotonic()
        tagger(batch)
        times.append((time.monotonic() - started) / batch_size)
    return times, found[: len(pixels)]


def _row_bytes(rows: list[dict[str, Any]], sizes: list[tuple[int, int]], found: list[Any]) -> float:
    """Return the bytes of a tags row beyond those of a file without rows."""
    table = [
        {"image_id": row["image_id"], "uri": row["uri"], "width": width, "height": height}
        | {"tags": tags.names, "tag_ids": tags.tag_ids, "scores": tags.scores}
        | ({} if tags.caption is None else {"caption": tags.caption})
        for row, (width, height), tags in zip(rows, sizes, found, strict=False)
    ]
    schema = tags_schema(captions=found[0].caption is not None, changes=True)
    empty = len(to_parquet(schema.empty_table()))
    return (len(to_parquet(pa.Table.from_pylist(table, schema))) - empty) / len(table)


def _mean_and_error(values: list[float]) -> tuple[float, float]:
    if not values:
        return 0.0, 0.0
    error = stdev(values) / math.sqrt(len(values)) if len(values) > 1 else 0.0
    return fmean(values), error

"""One wave of tagging as a Ray Data pipeline: shards -> stretches -> pixels -> summaries."""

import math
from typing import TYPE_CHECKING, Any

from ram_ray.cluster import Placement
from ram_ray.runs.ray_data import ONE_ROW, configure_ray_data, threads_of
from ram_ray.storage.fetching import FetchLimits
from ram_ray.storage.stores import absolute_url
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import ModelIdentity, tagger_options
from ram_ray.tagging.tag_images import CHUNKS_IN_FLIGHT, TagImages
from ram_ray.workers.chunks import ReadPlan
from ram_ray.workers.fetch_and_decode import STRETCHES_IN_FLIGHT, FetchAndDecode

if TYPE_CHECKING:
    from ray.data import Dataset

MAX_STRETCH = 16
"""Most chunks per fetch task: what a lost decoder does again."""


def build_pipeline(
    config: TagConfig,
    model: ModelIdentity,
    placement: Placement,
    batch_size: int,
    shards: tuple[int, ...],
    committers: list[Any],
) -> "Dataset":
    """Describe the wave to Ray Data: shards -> stretches of chunks -> pixels -> summaries."""
    import ray

    configure_ray_data(ONE_ROW)
    limits = FetchLimits(
        config.fetch_timeout_s, config.decode.max_image_bytes, config.fetch_concurrency
    )
    tagger = tagger_options(
        config,
        threshold=model.threshold_option,
        device=placement.device,
        threads=placement.threads_per_tagger,
        batch_size=batch_size,
    )
    stretch = stretch_chunks(chunks_per_shard(config, batch_size) * len(shards), placement)
    decoders = threads_of(placement.num_decoders, STRETCHES_IN_FLIGHT)
    taggers = threads_of(placement.num_taggers, CHUNKS_IN_FLIGHT)
    return (
        ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        .map_batches(
            ReadPlan(
                output=absolute_url(config.output),
                store=config.store,
                chunk_rows=batch_size,
                stretch_chunks=stretch,
            ),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=0.1,
        )
        .map_batches(
            FetchAndDecode,
            fn_constructor_args=(config.store, limits, config.decode, model.image_size_px),
            fn_constructor_kwargs={"pinned": config.pinned},
            batch_size=1,
            batch_format="pyarrow",
            compute=decoders,
            num_cpus=placement.cpus_per_decoder,
        )
        .map_batches(
            TagImages,
            fn_constructor_args=(tagger, committers),
            batch_size=1,
            batch_format="pyarrow",
            compute=taggers,
            num_cpus=placement.cpus_per_tagger,
            num_gpus=placement.gpus_per_tagger or None,
        )
    )


def stretch_chunks(num_chunks: int, placement: Placement) -> int:
    """Return how many chunks one fetch task takes: many, but enough tasks for every decoder."""
    tasks_wanted = 4 * (placement.num_decoders or MAX_STRETCH * placement.num_taggers)
    return max(1, min(MAX_STRETCH, num_chunks // tasks_wanted))


def chunks_per_shard(config: TagConfig, batch_size: int) -> int:
    """Return how many model batches a full shard is."""
    return math.ceil(config.shard_rows / batch_size)

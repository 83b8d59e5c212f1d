"""One wave of tagging as a Ray Data pipeline: shards -> stretches -> pixels -> summaries."""

import logging
import math
from typing import TYPE_CHECKING, Any

from ram_ray.cluster import Placement
from ram_ray.config import TagConfig
from ram_ray.storage.fetching import FetchLimits
from ram_ray.tagging.record import RunRecord
from ram_ray.tagging.tag_images import TagImages
from ram_ray.workers.chunks import ReadPlan
from ram_ray.workers.fetch_and_decode import FetchAndDecode
from ram_ray.workers.tagger import TaggerOptions, tagger_options

if TYPE_CHECKING:
    from ray.data import Dataset

MAX_STRETCH = 16
"""Most chunks per fetch task: what a lost decoder does again."""


def build_pipeline(
    config: TagConfig,
    record: RunRecord,
    placement: Placement,
    shards: tuple[int, ...],
    committers: list[Any],
) -> "Dataset":
    """Describe the wave to Ray Data: shards -> stretches of chunks -> pixels -> summaries."""
    import ray
    from ray.data import ActorPoolStrategy

    assert record.batch_size is not None, "settled before the first wave"
    configure_ray_data()
    limits = FetchLimits(
        config.fetch_timeout_s, config.decode.max_image_bytes, config.fetch_concurrency
    )
    tagger = _tagger(config, record, placement)
    decoders = ActorPoolStrategy(min_size=1, max_size=placement.num_decoders)
    taggers = ActorPoolStrategy(min_size=1, max_size=placement.num_taggers)
    return (
        ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        .map_batches(
            ReadPlan(
                output=config.output,
                store=config.store,
                chunk_rows=record.batch_size,
                stretch_chunks=stretch_chunks(config, record, placement, len(shards)),
            ),
            batch_size=1,
            batch_format="pyarrow",
            num_cpus=0.1,
        )
        .map_batches(
            FetchAndDecode,
            fn_constructor_args=(config.store, limits, config.decode, record.image_size_px),
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


def stretch_chunks(
    config: TagConfig, record: RunRecord, placement: Placement, num_shards: int
) -> int:
    """Return how many chunks one fetch task takes: many, but enough tasks for every decoder."""
    tasks_wanted = 4 * (placement.num_decoders or MAX_STRETCH * placement.num_taggers)
    return max(1, min(MAX_STRETCH, num_shards * chunks_per_shard(config, record) // tasks_wanted))


def configure_ray_data() -> None:
    """Set Ray Data up for chunk rows; a Dataset takes these when it is made."""
    from ray.data import DataContext

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    # Smaller than any row, so that every chunk is a block: the unit of retry and of scheduling.
    context.target_max_block_size = 1
    context.target_min_block_size = 1
    context.enable_progress_bars = False
    context.execution_options.preserve_order = False
    # A spot node may die while its actor loads the model; that is no reason to end the job.
    context.max_consecutive_actor_init_deaths = 3


def chunks_per_shard(config: TagConfig, record: RunRecord) -> int:
    """Return how many model batches a full shard is."""
    return math.ceil(config.shard_rows / (record.batch_size or 1))


def _tagger(config: TagConfig, record: RunRecord, placement: Placement) -> TaggerOptions:
    assert record.batch_size is not None, "settled before the first wave"
    threshold = record.threshold_option
    return tagger_options(
        config,
        threshold=tuple(threshold) if isinstance(threshold, list) else threshold,
        device=placement.device,
        threads=placement.threads_per_tagger,
        batch_size=record.batch_size,
    )

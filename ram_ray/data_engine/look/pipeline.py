"""The pass that decodes: every image is fetched and decoded once, whatever the steps want of it.

    shards -> stretches of chunks -> pixels -> scores and regions -> committers

The stages before the model are those of tagging. The model process scores the whole image, and
where regions are wanted, the crops too; what it found goes to the shard's committer, which
publishes the tables of both steps.
"""

import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from ram_ray.cluster import Placement, place
from ram_ray.config import Resources
from ram_ray.data_engine.config import EngineConfig
from ram_ray.data_engine.look.model_process import LookOptions
from ram_ray.data_engine.look.models import model_options
from ram_ray.data_engine.look.stages import CommitSeen, LookAtImages
from ram_ray.data_engine.look.windows import window_boxes
from ram_ray.data_engine.steps import EngineRun, Step, step_waves
from ram_ray.runs.commits import committed_shards
from ram_ray.runs.ray_data import ONE_ROW, configure_ray_data, threads_of
from ram_ray.runs.waves import Wave
from ram_ray.storage.fetching import FetchLimits
from ram_ray.workers.chunks import ReadPlan
from ram_ray.workers.fetch_and_decode import STRETCHES_IN_FLIGHT, FetchAndDecode

if TYPE_CHECKING:
    from ray.data import Dataset

MAX_COMMITTERS = 4
WAVE_CHUNKS = 1_536
"""Most chunks per model process and Ray Data execution; what the driver keeps of each adds up, as
in tagging (benchmarks/driver_memory.py)."""
STRETCH_CHUNKS = 4
"""Chunks that one fetch task takes."""
ASK_S = 2.0
"""Time between two looks at what is committed."""


def look(run: EngineRun, options: dict[str, Any], pixels_px: int, *steps: Step) -> None:
    """Look at all images that one of the steps still lacks; each pass fills all of them.

    Args:
        options: fields of LookOptions that the steps decide.
        pixels_px: side of the decoded images.
        steps: those of `scores_url` and `regions_url`.
    """
    config = run.config
    placement = place(_resources(config))
    chunks = -(-config.shard_rows // placement.batch_size)
    wave_shards = max(1, WAVE_CHUNKS * placement.num_taggers // chunks)
    look_options = _options(run, placement, options)
    for step in steps:
        for wave in step_waves(run, step, wave_shards):
            _run_wave(run, placement, look_options, pixels_px, step, wave)


def _run_wave(
    run: EngineRun,
    placement: Placement,
    options: LookOptions,
    pixels_px: int,
    step: Step,
    wave: Wave,
) -> None:
    """Run some shards through Ray Data and wait for their commits."""
    store = step.open(run.config.store)
    asked = time.monotonic()
    count = min(MAX_COMMITTERS, placement.num_taggers)
    with wave.committers(
        count, run.config.output, run.config.store, CommitSeen(options)
    ) as committers:
        pipeline = build_pipeline(
            run, placement, options, pixels_px, wave.shards, committers.actors
        )
        for _ in wave.keeping(pipeline.iter_internal_ref_bundles()):
            if time.monotonic() - asked >= ASK_S:
                wave.done(len(committed_shards(store).intersection(wave.shards)))
                asked = time.monotonic()


def build_pipeline(
    run: EngineRun,
    placement: Placement,
    options: LookOptions,
    pixels_px: int,
    shards: tuple[int, ...],
    committers: list[Any],
) -> "Dataset":
    """Describe the wave to Ray Data: shards -> stretches of chunks -> pixels -> summaries."""
    import ray
    from ray.data import ActorPoolStrategy

    config = run.config
    configure_ray_data(ONE_ROW)
    limits = FetchLimits(
        config.fetch_timeout_s, config.decode.max_image_bytes, config.fetch_concurrency
    )
    plan = ReadPlan(
        output=run.config.output,
        store=config.store,
        chunk_rows=placement.batch_size,
        stretch_chunks=STRETCH_CHUNKS,
    )
    return (
        ray.data.from_items([{"shard": shard} for shard in shards], override_num_blocks=len(shards))
        .map_batches(plan, batch_size=1, batch_format="pyarrow", num_cpus=0.1)
        .map_batches(
            FetchAndDecode,
            fn_constructor_args=(config.store, limits, config.decode, pixels_px),
            batch_size=1,
            batch_format="pyarrow",
            compute=threads_of(placement.num_decoders, STRETCHES_IN_FLIGHT),
            num_cpus=placement.cpus_per_decoder,
        )
        .map_batches(
            LookAtImages,
            fn_constructor_args=(options, pixels_px, committers),
            batch_size=1,
            batch_format="pyarrow",
            compute=ActorPoolStrategy(min_size=1, max_size=placement.num_taggers),
            num_cpus=placement.cpus_per_tagger,
            num_gpus=placement.gpus_per_tagger or None,
        )
    )


def _resources(config: EngineConfig) -> Resources:
    """Return the resources of this run, with the batch that fits the windows of an image."""
    if config.batch_size is None and config.locate and config.locator == "windows":
        # The crops of one image fill a batch: what is padded costs as much as what is looked at.
        return replace(config, batch_size=len(window_boxes(config.windows)))
    return config


def _options(run: EngineRun, placement: Placement, options: dict[str, Any]) -> LookOptions:
    config = run.config
    eyes = model_options(
        config,
        device=placement.device,
        threads=placement.threads_per_tagger,
        batch_size=placement.batch_size,
    )
    return LookOptions(
        output=run.config.output,
        store=config.store,
        eyes=eyes,
        num_shards=run.plan.shards,
        floor=config.floor,
        **options,
    )

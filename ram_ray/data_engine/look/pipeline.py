"""The pass that decodes: every image is fetched and decoded once, whatever the steps want of it.

    shards -> stretches of chunks -> pixels -> scores and regions -> committers

The stages before the model are those of tagging. The model process scores the whole image, and
where regions are wanted, the crops too; what it found goes to the shard's committer, which
publishes the tables of both steps.
"""

import time
from typing import TYPE_CHECKING, Any

from ram_ray.cluster import Placement, place
from ram_ray.config import TagConfig
from ram_ray.data_engine.look.eyes import EyesOptions
from ram_ray.data_engine.look.model_process import LookOptions
from ram_ray.data_engine.look.stages import CommitSeen, LookAtImages
from ram_ray.data_engine.look.windows import window_boxes
from ram_ray.data_engine.steps import EngineRun, Step, step_waves
from ram_ray.runs.commits import committed_shards
from ram_ray.runs.ray_data import ONE_ROW, configure_ray_data
from ram_ray.runs.waves import Wave
from ram_ray.storage.fetching import FetchLimits
from ram_ray.workers.chunks import ReadPlan
from ram_ray.workers.fetch_and_decode import FetchAndDecode

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
    placement = place(_as_tagging(run))
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
            compute=ActorPoolStrategy(min_size=1, max_size=placement.num_decoders),
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


def _as_tagging(run: EngineRun) -> TagConfig:
    """Return the resources of this run in the terms of tagging, which knows how to place them."""
    names = ("device", "precision", "batch_size", "num_taggers", "gpus_per_tagger", "num_decoders",
             "address", "source", "output")  # fmt: skip
    settings = {name: getattr(run.config, name) for name in names}
    if run.config.locate and run.config.locator == "windows":
        # The crops of one image fill a batch: what is padded costs as much as what is looked at.
        settings["batch_size"] = settings["batch_size"] or len(window_boxes(run.config.windows))
    return TagConfig(**settings)


def _options(run: EngineRun, placement: Placement, options: dict[str, Any]) -> LookOptions:
    config = run.config
    eyes = EyesOptions(
        models=config.models,
        device=placement.device,
        threads=placement.threads_per_tagger,
        precision=config.precision,
        batch_size=placement.batch_size,
        caption=config.caption,
    )
    return LookOptions(
        output=run.config.output,
        store=config.store,
        eyes=eyes,
        num_shards=run.plan.shards,
        floor=config.floor,
        **options,
    )

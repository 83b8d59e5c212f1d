"""The pass that decodes: every image is fetched and decoded once, whatever the steps want of it.

    shards -> stretches of chunks -> pixels -> scores and regions -> committers

The stages before the model are those of tagging. The model process scores the whole image, and
where regions are wanted, the crops too; what it found goes to the shard's committer, which
publishes the tables of both steps.
"""

import logging
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ram_ray.cluster import Placement, place
from ram_ray.config import TagConfig
from ram_ray.data_engine.look.eyes import EyesOptions
from ram_ray.data_engine.look.looker import LookOptions
from ram_ray.data_engine.look.stages import LookAtImages, LookCommitter
from ram_ray.data_engine.look.windows import window_boxes
from ram_ray.data_engine.steps import EngineRun, Step, cause, configure_ray_data, run_rounds
from ram_ray.runs.commits import committed_shards
from ram_ray.runs.committer import DrainReport
from ram_ray.storage.fetching import FetchLimits
from ram_ray.workers.chunks import ReadPlan
from ram_ray.workers.fetch_and_decode import FetchAndDecode

if TYPE_CHECKING:
    from ray.data import Dataset

_log = logging.getLogger(__name__)

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
    for step in steps:

        def run_wave(
            shards: tuple[int, ...],
            reasons: list[str],
            one_more: Callable[[], None],
            step: Step = step,
        ) -> None:
            _run_wave(run, placement, options, pixels_px, step, shards, reasons, one_more)

        run_rounds(run, step, run_wave, wave_shards=wave_shards)


def _run_wave(
    run: EngineRun,
    placement: Placement,
    options: dict[str, Any],
    pixels_px: int,
    step: Step,
    shards: tuple[int, ...],
    reasons: list[str],
    one_more: Callable[[], None],
) -> None:
    """Run some shards through Ray Data and wait for their commits; failures go to `reasons`."""
    import ray
    from ray.exceptions import RayError

    look_options = _options(run, placement, options)
    make = ray.remote(LookCommitter).options(num_cpus=0, max_restarts=0, max_concurrency=1_000)
    count = min(MAX_COMMITTERS, len(shards), placement.num_taggers)
    committers: list[Any] = [make.remote(look_options) for _ in range(count)]
    store = step.open(run.config.store)
    told, asked = 0, time.monotonic()
    try:
        pipeline = build_pipeline(run, placement, look_options, pixels_px, shards, committers)
        for _ in pipeline.iter_internal_ref_bundles():
            run.keep_lease()
            if time.monotonic() - asked < ASK_S:
                continue
            done = len(committed_shards(store).intersection(shards))
            for _ in range(done - told):
                one_more()
            told, asked = max(told, done), time.monotonic()
    except RayError as error:
        # Ray has retried what can be retried; the next round starts from the commits.
        reasons.append(cause(error))
        _log.warning("A pass over %d shards ended early: %s", len(shards), reasons[-1])
    finally:
        _drain(committers, reasons)


def _drain(committers: list[Any], reasons: list[str]) -> None:
    """Wait for the commits under way and end the committers."""
    import ray
    from ray.exceptions import RayError

    for committer in committers:
        try:
            drained: DrainReport = ray.get(committer.drain.remote())
            reasons.extend(drained.failures)
            ray.kill(committer)
        except RayError as error:
            reasons.append(f"a committer died ({cause(error)})")


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
    configure_ray_data(block_bytes=1)  # below any row: every chunk is a block, the unit of retry
    limits = FetchLimits(
        config.fetch_timeout_s, config.decode.max_image_bytes, config.fetch_concurrency
    )
    plan = ReadPlan(
        output=config.output,
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
        output=config.output,
        store=config.store,
        eyes=eyes,
        num_shards=run.plan.shards,
        floor=config.floor,
        **options,
    )

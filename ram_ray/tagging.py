"""Tag a bucket: list -> plan -> fetch and decode -> tag -> commit -> summary.

    tag_bucket(TagConfig(source="s3://photos/2026", output="s3://photos-tags/2026"))

Every image ends as exactly one row, tagged or quarantined with a reason. A run that was killed
goes on where its commits end: call it again.
"""

import gc
import logging
import math
import os
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ram_ray.cluster import Placement, place, ray_session
from ram_ray.committer import Committer, CommitterProgress, DrainReport
from ram_ray.config import TagConfig
from ram_ray.errors import ConfigError, IncompleteRunError, LeaseHeldError, RamRayError
from ram_ray.run_progress import OnProgress, RunProgress
from ram_ray.run_record import (
    ModelIdentity,
    RunRecord,
    agree_on_record,
    check_record,
    identify_model,
    settle_batch_size,
)
from ram_ray.run_summary import RunSummary, summarize
from ram_ray.storage.commits import (
    committed_shards,
    finish_publishing,
    iter_batches,
)
from ram_ray.storage.fetching import FetchLimits
from ram_ray.storage.leases import Lease, take_lease
from ram_ray.storage.plans import PlanSummary, read_plan, write_plan
from ram_ray.storage.sources import NameFilter, list_source
from ram_ray.storage.stores import Store, open_store, probe_create_if_absent, split_url
from ram_ray.workers import FetchAndDecode, ReadPlan, TaggerOptions, TagImages

if TYPE_CHECKING:
    from ray.data import Dataset

WAVE_SHARDS = 2_000
"""Most shards per Ray Data execution (mechanisms A.2)."""
WAVE_CHUNKS = 1_536
"""Most chunks per tagger and execution: Ray Data's driver keeps some 15 kB of each until the end
(benchmarks/driver_memory.py), so this bounds its memory whatever the number of images. Between
two waves the models load again, which costs seconds: after a minute on the fastest GPUs, after
many on a CPU."""
MAX_STRETCH = 16
"""Most chunks per fetch task: what a lost decoder does again."""
MAX_COMMITTERS = 8
"""Committers per wave; each holds only the shards that are open."""

_log = logging.getLogger(__name__)


def tag_bucket(config: TagConfig, *, on_progress: OnProgress | None = None) -> RunSummary:
    """Tag every image of `config.source` into `config.output`.

    Raises:
        ConfigError: a setting is wrong, or the output holds another run; nothing was written.
        UnreachableError: source, output, model or cluster cannot be reached.
        LeaseHeldError: another driver works on this output.
        IncompleteRunError: some shards failed in every round; run again to resume.
    """
    started = time.monotonic()
    model = identify_model(config)
    check_before_writing(config, model)
    store = open_store(config.output, config.store, create=True)
    probe_create_if_absent(store)
    lease = take_lease(store)
    try:
        record = agree_on_record(store, config, model)
        report = RunProgress(on_progress, started)
        plan, resumed = make_plan(store, config, lease, report)
        already = committed_shards(store)
        report.start(plan)
        report.committed(_rows_in(already, plan, config.shard_rows), len(already))
        notes = model.notes
        if len(already) < plan.shards:
            with ray_session(config.address):
                placement = place(config)
                record = settle_batch_size(store, record, placement.batch_size)
                notes += placement.notes
                notes += run_rounds(store, config, record, placement, plan, lease, report)
        finish_publishing(store, set(range(plan.shards)))
        rows_before = _rows_in(already, plan, config.shard_rows)
        return summarize(store, plan, model, started, resumed, rows_before, notes)
    finally:
        lease.release()


def check_before_writing(config: TagConfig, model: ModelIdentity) -> None:
    """Refuse what can be refused before the output is touched.

    Raises:
        ConfigError: the output holds another run or lies inside the source, or no image is there.
        UnreachableError: source or output cannot be read.
    """
    kind, _, source = split_url(config.source)
    out_kind, _, output = split_url(config.output)
    if kind == out_kind == "file" and f"{output}/".startswith(f"{source}/"):
        raise ConfigError(f"output {config.output} lies inside the source; choose another.")
    if out_kind != "file" or os.path.exists(output):
        store = open_store(config.output, config.store)
        check_record(store, config, model)
        if read_plan(store) is not None:
            return
    _check_source(config)


def _check_source(config: TagConfig) -> None:
    names = NameFilter(config.include, config.exclude)
    skipped = 0
    for listed in list_source(config.source, config.store):
        if names.accepts(listed.image_id):
            return
        skipped += 1
    other = f" ({skipped:,} objects of other names)" if skipped else ""
    raise ConfigError(f"There are no images under {config.source}{other}; check it, or --include.")


def make_plan(
    store: Store, config: TagConfig, lease: Lease, report: RunProgress
) -> tuple[PlanSummary, bool]:
    """Return the run's plan and whether it was there already; list the source when it was not."""
    plan = read_plan(store)
    if plan is not None:
        return plan, True

    def on_listed(rows: int) -> None:
        _keep_lease(lease, config)
        report.listed(rows)

    names = NameFilter(config.include, config.exclude)
    objects = list_source(config.source, config.store)
    plan = write_plan(store, objects, names, shard_rows=config.shard_rows, on_listed=on_listed)
    if plan.rows == 0:
        raise ConfigError(f"There are no images under {config.source} any more.")
    return plan, False


def run_rounds(
    store: Store,
    config: TagConfig,
    record: RunRecord,
    placement: Placement,
    plan: PlanSummary,
    lease: Lease,
    report: RunProgress,
) -> tuple[str, ...]:
    """Run what is pending until every shard is committed; return notes for the user.

    Raises:
        IncompleteRunError: shards are left after `config.max_rounds` passes over them.
    """
    reasons: list[str] = []
    notes: set[str] = set()
    for _ in range(config.max_rounds):
        committed = committed_shards(store)
        pending = (shard for shard in range(plan.shards) if shard not in committed)
        report.committed(_rows_in(committed, plan, config.shard_rows), len(committed))
        if len(committed) == plan.shards:
            break
        for wave in iter_batches(pending, wave_shards(config, record, placement)):
            _keep_lease(lease, config)
            notes |= _run_wave(config, record, placement, wave, lease, report, reasons)
            gc.collect()  # an execution of Ray Data is a cycle of objects: free it before the next
        finish_publishing(store, committed_shards(store))
    left = sorted(set(range(plan.shards)) - committed_shards(store))
    if left:
        shown = ", ".join(map(str, left[:10])) + (", ..." if len(left) > 10 else "")
        why = f" Last reason: {reasons[-1]}" if reasons else ""
        raise IncompleteRunError(
            f"{len(left)} of {plan.shards} shards are not committed ({shown}); what is committed "
            f"stays, run the same command again to resume.{why}"
        )
    return tuple(sorted(notes))


def wave_shards(config: TagConfig, record: RunRecord, placement: Placement) -> int:
    """Return how many shards one Ray Data execution takes on."""
    fitting = WAVE_CHUNKS * placement.num_taggers // _chunks(config, record)
    return max(1, min(WAVE_SHARDS, fitting))


def _chunks(config: TagConfig, record: RunRecord) -> int:
    return math.ceil(config.shard_rows / (record.batch_size or 1))


def _run_wave(
    config: TagConfig,
    record: RunRecord,
    placement: Placement,
    shards: tuple[int, ...],
    lease: Lease,
    report: RunProgress,
    reasons: list[str],
) -> set[str]:
    """Run some shards through Ray Data and wait for their commits; failures go to `reasons`."""
    import ray
    from ray.exceptions import RayError

    make = ray.remote(Committer).options(num_cpus=0, max_restarts=0, max_concurrency=1_000)
    count = min(MAX_COMMITTERS, len(shards), placement.num_taggers)
    committers: list[Any] = [make.remote(config.output, config.store) for _ in range(count)]
    seen: list[CommitterProgress] = []
    try:
        # The rows are never read: their pages of the object store would stay mapped in here.
        pipeline = build_pipeline(config, record, placement, shards, committers)
        for _ in pipeline.iter_internal_ref_bundles():
            _keep_lease(lease, config)
            if report.wants_counts():
                report.wave(_ask_progress(committers))
    except RayError as error:
        # Ray has retried what can be retried; the next round starts from the commits.
        reasons.append(_cause(error))
        _log.warning("A pass over %d shards ended early: %s", len(shards), reasons[-1])
    finally:
        # After a lost lease or Ctrl-C, too: commits under way are let through.
        seen = _drain(committers, reasons)
        report.wave_over(seen)
    return _device_notes(placement, seen)


def _ask_progress(committers: list[Any]) -> list[CommitterProgress]:
    import ray
    from ray.exceptions import RayActorError

    counts: list[CommitterProgress] = []
    for asked in [committer.progress.remote() for committer in committers]:
        # One that died counts nothing: its open shards are redone in the next round.
        with suppress(RayActorError):
            counts.append(ray.get(asked))
    return counts


def _drain(committers: list[Any], reasons: list[str]) -> list[CommitterProgress]:
    """Wait for the commits under way, end the committers, return what each has done."""
    import ray
    from ray.exceptions import RayError

    counts: list[CommitterProgress] = []
    for committer in committers:
        try:
            drained: DrainReport = ray.get(committer.drain.remote())
        except RayError as error:
            reasons.append(f"a committer died ({_cause(error)})")
            continue
        reasons.extend(drained.failures)
        counts.append(drained.progress)
        ray.kill(committer)
    return counts


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
    tagger = tagger_options(config, record, placement)
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
    return max(1, min(MAX_STRETCH, num_shards * _chunks(config, record) // tasks_wanted))


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


def tagger_options(config: TagConfig, record: RunRecord, placement: Placement) -> TaggerOptions:
    """Return what a model process needs to know."""
    assert record.batch_size is not None, "settled before the first wave"
    threshold = record.threshold_option
    return TaggerOptions(
        model=config.model,
        device=placement.device,
        threads=placement.threads_per_tagger,
        precision=config.precision,
        batch_size=record.batch_size,
        tags=config.tags,
        threshold=tuple(threshold) if isinstance(threshold, list) else threshold,
        top_k=config.top_k,
        score_floor=config.score_floor,
        text_encoder=config.text_encoder,
        descriptions=config.descriptions,
        open_set_threshold=config.open_set_threshold,
        caption=config.caption,
        caption_tags=config.caption_tags,
        caption_beams=config.caption_beams,
    )


def _device_notes(placement: Placement, counts: list[CommitterProgress]) -> set[str]:
    devices = {device for each in counts for device, _ in each.taggers}
    if placement.gpus_per_tagger and "cpu" in devices:
        return {"Ray offers GPUs, but a model process sees none: it tags on the CPU."}
    return set()


def _keep_lease(lease: Lease, config: TagConfig) -> None:
    if lease.lost:
        raise LeaseHeldError(f"Another driver has taken over {config.output}; stopping here.")


def _rows_in(shards: set[int], plan: PlanSummary, shard_rows: int) -> int:
    last = plan.rows - (plan.shards - 1) * shard_rows
    return sum(last if shard == plan.shards - 1 else shard_rows for shard in shards)


def _cause(error: BaseException) -> str:
    """Return the sentence of the innermost error; Ray wraps it in several of its own."""
    inner: BaseException | None = error
    while inner is not None:
        error = inner
        if isinstance(error, RamRayError):
            break
        inner = getattr(error, "cause", None) or error.__cause__
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__

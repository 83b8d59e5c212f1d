"""Rounds over the shards that are not committed, wave by wave, until every one is.

A wave is one Ray Data execution. What fails in it, whatever the reason, is left for the next
round, which starts from the commits.
"""

import gc
import logging
from contextlib import suppress
from typing import Any

from ram_ray.cluster import Placement
from ram_ray.errors import IncompleteRunError, RamRayError
from ram_ray.runs.commits import committed_shards, finish_publishing, iter_batches
from ram_ray.runs.committer import Committer, CommitterProgress, DrainReport
from ram_ray.runs.leases import Lease
from ram_ray.runs.plans import PlanSummary
from ram_ray.storage.stores import Store
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.dataset import build_pipeline, chunks_per_shard
from ram_ray.tagging.progress import RunProgress
from ram_ray.tagging.record import RunRecord

WAVE_SHARDS = 2_000
"""Most shards per Ray Data execution (mechanisms A.2)."""
WAVE_CHUNKS = 1_536
"""Most chunks per tagger and execution: Ray Data's driver keeps some 15 kB of each until the end
(benchmarks/driver_memory.py), so this bounds its memory whatever the number of images. Between
two waves the models load again, which costs seconds: after a minute on the fastest GPUs, after
many on a CPU."""
MAX_COMMITTERS = 8
"""Committers per wave; each holds only the shards that are open."""

_log = logging.getLogger(__name__)


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
        report.committed(rows_in(committed, plan, config.shard_rows), len(committed))
        if len(committed) == plan.shards:
            break
        for wave in iter_batches(pending, wave_shards(config, record, placement)):
            lease.keep()
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
    fitting = WAVE_CHUNKS * placement.num_taggers // chunks_per_shard(config, record)
    return max(1, min(WAVE_SHARDS, fitting))


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
            lease.keep()
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


def _device_notes(placement: Placement, counts: list[CommitterProgress]) -> set[str]:
    devices = {device for each in counts for device, _ in each.taggers}
    if placement.gpus_per_tagger and "cpu" in devices:
        return {"Ray offers GPUs, but a model process sees none: it tags on the CPU."}
    return set()


def rows_in(shards: set[int], plan: PlanSummary, shard_rows: int) -> int:
    """Return how many planned images some shards hold; only the last one is shorter."""
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

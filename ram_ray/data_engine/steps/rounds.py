"""Rounds over the shards of a step that are not committed, wave by wave, until every one is."""

import gc
import logging
from collections.abc import Callable
from typing import Any

import pyarrow as pa

from ram_ray.data_engine.config import EngineConfig
from ram_ray.data_engine.steps.step import EngineRun, Step, StepProgress, is_complete
from ram_ray.errors import ConfigError, IncompleteRunError
from ram_ray.runs.commits import committed_shards, finish_publishing, iter_batches

_PARTS_OF = {"look": {"generate", "locate"}, "sample": {"cluster"}}
"""Steps of STEPS that a part serves."""
WAVE_SHARDS = 2_000
"""Most shards per Ray Data execution: what the driver keeps of each until its end."""
_log = logging.getLogger(__name__)
RunWave = Callable[[tuple[int, ...], list[str], Callable[[], None]], None]
"""Runs some shards; appends to the list why one failed; calls the function per shard that is done.
"""


def run_rounds(
    run: EngineRun, step: Step, run_wave: RunWave, *, wave_shards: int = WAVE_SHARDS
) -> None:
    """Run what is pending until every shard is committed, `wave_shards` at a time.

    Raises:
        ConfigError: this call does not do the step, and it is not done yet.
        IncompleteRunError: shards are left after `config.max_rounds` passes over them.
    """
    store = step.open(run.config.store)
    if not run.wanted & _PARTS_OF.get(step.name, {step.name}):
        if not is_complete(step, run.config.store):
            raise ConfigError(
                f"The step {step.name} is not done with these settings: leave out --only and "
                "--from-step, or run it first."
            )
        return
    reasons: list[str] = []
    for _ in range(run.config.max_rounds):
        committed = committed_shards(store)
        if len(committed) == step.num_shards:
            break
        done = len(committed)
        run.on_progress(StepProgress(step.name, done, step.num_shards))

        def one_more() -> None:
            nonlocal done
            done += 1
            run.keep_lease()
            run.on_progress(StepProgress(step.name, done, step.num_shards))

        pending = (shard for shard in range(step.num_shards) if shard not in committed)
        for wave in iter_batches(pending, wave_shards):
            run.keep_lease()
            run_wave(wave, reasons, one_more)
            gc.collect()  # an execution of Ray Data is a cycle of objects
    committed = committed_shards(store)
    finish_publishing(store, committed)
    left = sorted(set(range(step.num_shards)) - committed)
    if left:
        shown = ", ".join(map(str, left[:10])) + (", ..." if len(left) > 10 else "")
        why = f" Last reason: {reasons[-1]}" if reasons else ""
        raise IncompleteRunError(
            f"{step.name}: {len(left)} of {step.num_shards} shards are not committed ({shown}); "
            f"what is committed stays, run the same command again to resume.{why}"
        )
    run.on_progress(StepProgress(step.name, step.num_shards, step.num_shards))


def run_tables(run: EngineRun, step: Step, worker: type, *arguments: object) -> None:
    """Run a step whose shards are tables: a pool of `worker(*arguments)`, called per shard.

    Args:
        worker: a class whose `commit(shard)` reads, computes and commits one shard.
    """

    def run_wave(shards: tuple[int, ...], reasons: list[str], one_more: Callable[[], None]) -> None:
        commit_shards(run.config, shards, worker, arguments, reasons, one_more)

    run_rounds(run, step, run_wave)


def commit_shards(
    config: EngineConfig,
    shards: tuple[int, ...],
    worker: type,
    arguments: tuple[object, ...],
    reasons: list[str],
    one_more: Callable[[], None],
) -> None:
    """Run one wave of `run_tables` on Ray Data."""
    import ray
    from ray.data import ActorPoolStrategy
    from ray.exceptions import RayError

    configure_ray_data()
    cpus = int(ray.cluster_resources().get("CPU", 1))
    workers = min(config.num_workers or max(1, cpus), len(shards))
    rows = [{"shard": shard} for shard in shards]
    pipeline = ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        CommitShards,
        fn_constructor_args=(worker, *arguments),
        batch_size=1,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=1, max_size=workers),
        num_cpus=config.cpus_per_worker,
    )
    try:
        for _ in pipeline.iter_internal_ref_bundles():
            one_more()
    except RayError as error:
        # Ray has retried what can be retried; the next round starts from the commits.
        reasons.append(cause(error))
        _log.warning("A pass over %d shards ended early: %s", len(shards), reasons[-1])


def in_workers(function: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
    """Return the results of calls, each in a process of the cluster: the driver stays small."""
    import ray

    remote = ray.remote(function).options(num_cpus=0.5)
    return ray.get([remote.remote(*arguments) for arguments in calls])


class CommitShards:
    """What Ray Data calls: hands each shard to the worker; yields one small row per shard."""

    def __init__(self, worker: type, *arguments: object) -> None:
        self._worker = worker(*arguments)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Commit the shards of the batch."""
        for shard in batch["shard"].to_pylist():
            self._worker.commit(shard)
        return batch.select(["shard"])


def configure_ray_data(block_bytes: int = 2**20) -> None:
    """Set Ray Data up for few rows; a Dataset takes these when it is made."""
    from ray.data import DataContext

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.target_max_block_size = context.target_min_block_size = block_bytes
    context.max_consecutive_actor_init_deaths = 3


def cause(error: BaseException) -> str:
    """Return the last line of what Ray says went wrong."""
    lines = [line for line in str(error).strip().splitlines() if line.strip()]
    return lines[-1][:300] if lines else type(error).__name__

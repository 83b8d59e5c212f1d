"""The shards of a step that are not committed: waves over them, until every one is."""

from collections.abc import Iterator

import pyarrow as pa

from ram_ray.data_engine.steps.step import EngineRun, Step, StepProgress, is_complete
from ram_ray.errors import ConfigError
from ram_ray.runs.ray_data import over_shards
from ram_ray.runs.rounds import WAVE_SHARDS, Shards
from ram_ray.runs.waves import Wave

_PARTS_OF = {"look": {"generate", "locate"}, "sample": {"cluster"}}
"""Steps of STEPS that a part serves."""


def step_waves(run: EngineRun, step: Step, size: int = WAVE_SHARDS) -> Iterator[Wave]:
    """Yield waves over what a step lacks, at most `size` shards each; it is complete at the end.

    Raises:
        ConfigError: this call does not do the step, and it is not done yet.
        IncompleteRunError: shards are left after `config.max_rounds` passes over them.
    """
    if not run.wanted & _PARTS_OF.get(step.name, {step.name}):
        if not is_complete(step, run.config.store):
            raise ConfigError(
                f"The step {step.name} is not done with these settings: leave out --only and "
                "--from-step, or run it first."
            )
        return

    def tell(done: int) -> None:
        run.on_progress(StepProgress(step.name, done, step.num_shards))

    shards = Shards(
        step.open(run.config.store),
        step.num_shards,
        run.lease,
        max_rounds=run.config.max_rounds,
        what=step.name,
        on_done=tell,
    )
    yield from shards.waves(size)
    shards.finish()


def run_tables(run: EngineRun, step: Step, worker: type, *arguments: object) -> None:
    """Run a step whose shards are tables: a pool of `worker(*arguments)`, called per shard.

    Args:
        worker: a class whose `commit(shard)` reads, computes and commits one shard.
    """
    for wave in step_waves(run, step):
        _run_wave(run, wave, worker, arguments)


def _run_wave(run: EngineRun, wave: Wave, worker: type, arguments: tuple[object, ...]) -> None:
    config = run.config
    with wave.attempt():
        pipeline = over_shards(
            wave.shards,
            CommitShards,
            (worker, *arguments),
            processes=config.num_workers,
            cpus=config.cpus_per_worker,
        )
        bundles = pipeline.iter_internal_ref_bundles()
        for done, _ in enumerate(wave.keeping(bundles), start=1):
            wave.done(min(done, len(wave.shards)))


class CommitShards:
    """What Ray Data calls: hands each shard to the worker; yields one small row per shard."""

    def __init__(self, worker: type, *arguments: object) -> None:
        self._worker = worker(*arguments)

    def __call__(self, batch: pa.Table) -> pa.Table:
        """Commit the shards of the batch."""
        for shard in batch["shard"].to_pylist():
            self._worker.commit(shard)
        return batch.select(["shard"])

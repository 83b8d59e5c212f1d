"""What every step shares: its place in the output, its identity, and the rounds over its shards.

OUTPUT/steps/NAME-FINGERPRINT/   step.json, commits/, staging/, one folder per table

The fingerprint is of the step's settings and of the steps it reads. The same step of the same
input is therefore resumed, and another setting starts it, and what follows it, beside the old one.
"""

import gc
import hashlib
import io
import json
import logging
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray import __version__
from ram_ray.config import StoreConfig
from ram_ray.data_engine.config import STEPS, EngineConfig
from ram_ray.data_engine.image_plan import ImagePlan
from ram_ray.errors import ConfigError, IncompleteRunError
from ram_ray.storage.commits import (
    Commit,
    committed_shards,
    finish_publishing,
    iter_batches,
    read_commits,
)
from ram_ray.storage.leases import Lease
from ram_ray.storage.plans import shard_name
from ram_ray.storage.stores import Store, open_store

_PARTS_OF = {"look": {"generate", "locate"}, "sample": {"cluster"}}
"""Steps of STEPS that a part serves."""
WAVE_SHARDS = 2_000
"""Most shards per Ray Data execution: what the driver keeps of each until its end."""
STEP_KEY = "step.json"
COUNTS = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("tag_id", pa.int32()),  # null: of all tags together
        pa.field("value", pa.int64(), nullable=False),
    ]
)
"""What a shard counted; the report adds them up."""

_log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far a step is; told to `on_progress`."""

    step: str
    done: int
    total: int
    """Shards."""


OnProgress = Callable[[StepProgress], None]


@dataclass(frozen=True, slots=True)
class EngineRun:
    """What the steps of one call share."""

    config: EngineConfig
    store: Store
    """The whole output."""
    plan: ImagePlan
    vocabulary_sha256: str
    lease: Lease
    on_progress: OnProgress
    wanted: frozenset[str]
    """Steps of STEPS that this call does; the others must be done already."""

    def uses(self, name: str) -> bool:
        """Tell whether this call needs a step: it is on, and not behind the last wanted one."""
        is_on = getattr(self.config, name, True) if name not in ("filter", "report") else True
        last = max(STEPS.index(step) for step in self.wanted)
        return bool(is_on) and STEPS.index(name) <= last

    def keep_lease(self) -> None:
        """Stop when another driver has taken over."""
        self.lease.keep()


@dataclass(frozen=True, slots=True)
class Step:
    """One step with its settings and input: where its tables lie."""

    name: str
    fingerprint: str
    url: str
    num_shards: int

    def open(self, config: StoreConfig) -> Store:
        """Open its folder for reading."""
        return open_store(self.url, config)


@dataclass(frozen=True, slots=True)
class StepsDone:
    """The steps before `filter`; None where a step is off."""

    parsed: Step
    seen: Step | None
    added: Step | None
    located: Step | None
    judged: Step | None

    def all(self) -> tuple[Step | None, ...]:
        """Return them in order."""
        return self.parsed, self.seen, self.added, self.located, self.judged

    def urls(self) -> dict[str, str | None]:
        """Return where they lie, by the names of the fields."""
        names = ("parsed", "seen", "added", "located", "judged")
        pairs = zip(names, self.all(), strict=True)
        return {name: step.url if step else None for name, step in pairs}

    def names(self) -> dict[str, str | None]:
        """Return the same below the output, such as `steps/parse-1f2e...`."""
        return {
            name: url and "/".join(url.rsplit("/", 2)[-2:]) for name, url in self.urls().items()
        }


def identify(
    run: EngineRun, name: str, settings: dict[str, Any], inputs: Iterable[Step | None]
) -> tuple[dict[str, Any], str]:
    """Return what makes a step the same step, and the hash of it."""
    identity = {
        "step": name,
        "settings": settings,
        "inputs": [step.fingerprint if step else None for step in inputs],
        "vocabulary_sha256": run.vocabulary_sha256,
        "ram_ray": __version__,
    }
    text = json.dumps(identity, sort_keys=True, default=str)
    return identity, hashlib.sha256(text.encode()).hexdigest()


def open_step(
    run: EngineRun, name: str, settings: dict[str, Any], inputs: Iterable[Step | None]
) -> Step:
    """Return the step's place in the output, made if it is not there; or the given tables'."""
    given = dict(text.split("=", 1) for text in run.config.tables)
    if name in given:
        return _given_step(run, name, given[name])
    identity, fingerprint = identify(run, name, settings, inputs)
    url = f"{run.config.output.rstrip('/')}/steps/{name}-{fingerprint[:12]}"
    store = open_store(url, run.config.store, create=True)
    store.create(STEP_KEY, json.dumps(identity, indent=1, default=str).encode())
    return Step(name, fingerprint, url, run.plan.shards)


def is_complete(step: Step, config: StoreConfig) -> bool:
    """Tell whether every shard of the step is committed."""
    return len(committed_shards(step.open(config))) == step.num_shards


def _given_step(run: EngineRun, name: str, url: str) -> Step:
    """Return tables that were made elsewhere.

    Raises:
        ConfigError: they are not those of as many shards.
    """
    store = open_store(url, run.config.store)
    shards = committed_shards(store)
    if shards != set(range(run.plan.shards)):
        raise ConfigError(
            f"tables has {name}={url}, which holds {len(shards)} committed shards, but the run has "
            f"{run.plan.shards}."
        )
    digest = hashlib.sha256(url.encode())
    for commit in read_commits(store, sorted(shards)):
        digest.update(commit.attempt.encode())
    return Step(name, digest.hexdigest(), url, run.plan.shards)


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


def read_table(store: Store, folder: str, shard: int) -> pa.Table:
    """Return one table of a committed shard."""
    return pq.read_table(io.BytesIO(store.read(f"{folder}/{shard_name(shard)}.parquet")))


def read_all_commits(step: Step, config: StoreConfig) -> Iterator[Commit]:
    """Yield the commits of a finished step, in order."""
    yield from read_commits(step.open(config), range(step.num_shards))


def counts_table(counts: dict[str, int] | Counter[Any]) -> pa.Table:
    """Return COUNTS of {name: value} or {(name, tag_id): value}."""
    rows = [
        {"name": key, "tag_id": None, "value": value}
        if isinstance(key, str)
        else {"name": key[0], "tag_id": key[1], "value": value}
        for key, value in sorted(counts.items(), key=str)
    ]
    return pa.Table.from_pylist(rows, COUNTS)


def sum_counts(step: Step, config: StoreConfig) -> Counter[Any]:
    """Return what all shards of a finished step counted: {name or (name, tag_id): value}."""
    store = step.open(config)
    total: Counter[Any] = Counter()
    for shard in range(step.num_shards):
        for row in read_table(store, "counts", shard).to_pylist():
            key = row["name"] if row["tag_id"] is None else (row["name"], row["tag_id"])
            total[key] += row["value"]
    return total

"""Ray Data and Ray's workers as every pipeline uses them, and what their errors mean."""

import logging
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from obstore.exceptions import BaseError

from ram_ray.errors import IncompleteRunError, RamRayError
from ram_ray.storage.reasons import first_line

if TYPE_CHECKING:
    from ray.data import ActorPoolStrategy, Dataset

ONE_ROW = 1
"""Bytes of a block below any row: every row is a block, the unit of retry and of scheduling."""
BLOCKS_READY = 4
"""Finished blocks that a task may hold ready for the driver; measured
(benchmarks/results/2026-11-29-pipeline-stub.md): with more, Ray Data expects so much of a task that
it starts the next one too late."""
FEW_ROWS = 2**20
"""Bytes of a block for rows that only say which shard is meant."""

_MEANINGS = (
    ("OutOfMemoryError", "Ray ended a worker process because the memory was full"),
    ("MemoryError", "a worker process had no memory left"),
    ("WorkerCrashedError", "a worker process died"),
    ("ActorUnavailableError", "a worker process does not answer"),
    ("RayActorError", "a worker process died"),
    ("NodeDiedError", "a machine of the cluster died"),
    ("ObjectStoreFullError", "Ray's object store is full"),
    ("OutOfDiskError", "the disk of Ray's object store is full"),
    ("ObjectLostError", "data was lost with the process or machine that held it"),
    ("ObjectFetchTimedOutError", "data could not be fetched from another machine in time"),
    ("GetTimeoutError", "a worker process did not answer in time"),
    ("TimeoutError", "a worker process did not answer in time"),
    ("TaskCancelledError", "the work was cancelled"),
    ("RuntimeEnvSetupError", "a worker process could not be set up"),
    ("RayError", "Ray failed and did not say why"),
    ("BaseException", "a worker failed and did not say why"),
)
"""What an error without a text means, by the name of its class or the nearest of its bases."""


def configure_ray_data(block_bytes: int) -> None:
    """Set Ray Data up; a Dataset takes these settings when it is made.

    Args:
        block_bytes: ONE_ROW or FEW_ROWS.
    """
    from ray.data import DataContext

    logging.getLogger("ray.data").setLevel(logging.ERROR)
    context = DataContext.get_current()
    context.target_max_block_size = context.target_min_block_size = block_bytes
    context.enable_progress_bars = False
    # Nobody reads it here, and each task would start a thread that adds up the process's pages.
    context.memory_usage_poll_interval_s = None
    # The driver looks at its tasks ten times a second (it waits for all of them, 0.1 s at most):
    # with Ray's two blocks a task and look, a decoder hands over 20 chunks a second, no more.
    context._max_num_blocks_in_streaming_gen_buffer = BLOCKS_READY
    context.raise_original_map_exception = True  # else only a traceback says what went wrong
    context.execution_options.preserve_order = False
    # A spot node may die while its actor loads the model; that is no reason to end the job.
    context.max_consecutive_actor_init_deaths = 3


def threads_of(processes: int | None, calls: int) -> "ActorPoolStrategy":
    """Return a pool of processes, each of which works on several calls at a time, in threads.

    Args:
        processes: at most so many; None: as many as the cluster has room for.
    """
    from ray.data import ActorPoolStrategy

    return ActorPoolStrategy(
        min_size=1,
        max_size=processes,
        max_concurrent_calls_per_actor=calls,
        enable_true_multi_threading=True,
    )


def over_shards(
    shards: tuple[int, ...],
    stage: type,
    arguments: tuple[object, ...],
    *,
    processes: int | None,
    cpus: float,
) -> "Dataset":
    """Describe a wave whose shards are done by one stage, each shard by one process.

    Args:
        stage: a class made with `arguments`, called with one row that holds a `shard` number.
        processes: at most so many; None: one per CPU.
        cpus: that each of them reserves.
    """
    import ray
    from ray.data import ActorPoolStrategy

    configure_ray_data(FEW_ROWS)
    there = max(1, int(ray.cluster_resources().get("CPU", 1)))
    rows = [{"shard": shard} for shard in shards]
    return ray.data.from_items(rows, override_num_blocks=len(rows)).map_batches(
        stage,
        fn_constructor_args=arguments,
        batch_size=1,
        batch_format="pyarrow",
        compute=ActorPoolStrategy(min_size=1, max_size=min(processes or there, len(shards))),
        num_cpus=cpus,
    )


def in_workers(function: Callable[..., Any], calls: list[tuple[Any, ...]]) -> list[Any]:
    """Return the results of calls, each in a process of the cluster: the driver stays small.

    Raises:
        RamRayError: what a call raised.
        IncompleteRunError: a call failed in another way.
    """
    import ray

    remote = ray.remote(function).options(num_cpus=0.5)
    return _results([remote.remote(*arguments) for arguments in calls])


def on_every_node(function: Callable[..., Any], *arguments: Any) -> list[Any]:
    """Return the result of one call on each machine of the cluster.

    Raises:
        RamRayError: what a call raised.
        IncompleteRunError: a call failed in another way.
    """
    import ray
    from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

    remote = ray.remote(function)
    calls = [
        remote.options(
            num_cpus=0,
            scheduling_strategy=NodeAffinitySchedulingStrategy(node["NodeID"], soft=False),
        ).remote(*arguments)
        for node in ray.nodes()
        if node["Alive"]
    ]
    return _results(calls)


def _results(calls: list[Any]) -> list[Any]:
    import ray
    from ray.exceptions import RayError

    try:
        return ray.get(calls)
    except RayError as error:
        inner = innermost(error)
        if isinstance(inner, RamRayError):
            raise inner from error
        raise IncompleteRunError(
            f"A worker failed ({cause(error)}); run the same command again to resume."
        ) from error


def cause(error: BaseException) -> str:
    """Return in one sentence what went wrong; Ray wraps it in several errors of its own."""
    from ray.exceptions import RayError

    inner = innermost(error)
    if isinstance(inner, (OSError, BaseError)):
        return first_line(inner) if str(inner).strip() else meaning(inner)
    lines = [line.strip() for line in str(inner).strip().splitlines() if line.strip()]
    if not lines:
        return meaning(inner)
    # An error of Ray tells its story first and what it comes to last.
    return lines[-1 if isinstance(inner, RayError) else 0][:300]


def meaning(error: BaseException) -> str:
    """Return what the class of an error says, in plain words."""
    bases = [base.__name__ for base in type(error).__mro__]
    known = dict(_MEANINGS)
    return next(known[name] for name in bases if name in known)


def innermost(error: BaseException) -> BaseException:
    """Return the error that the others wrap: one of ours, where there is one."""
    from ray.exceptions import RayError

    inner = error
    while True:
        # What `ray.get` raises is an instance of both classes; its text is a whole traceback.
        if isinstance(inner, RamRayError) and not isinstance(inner, RayError):
            return inner
        within = getattr(inner, "cause", None) or inner.__cause__
        if not isinstance(within, BaseException):
            return inner
        inner = within

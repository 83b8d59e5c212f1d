"""Training processes on a cluster: Ray Train starts them, and starts them again when some die."""

import os
import tempfile
import threading
from collections.abc import Callable
from typing import Any

import ray
from ray.train import FailureConfig, RunConfig, ScalingConfig, get_context
from ray.train.torch import TorchConfig, TorchTrainer, get_device
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from ram_ray.errors import ConfigError, RamRayError
from ram_ray.training.config import TrainConfig
from ram_ray.training.loop import run_worker
from ram_ray.training.notes import RemoteNotes, RunNotes
from ram_ray.training.trained import Worker
from ram_ray.workers.fetch_and_decode import check_decoders

_POLL_S = 2.0


def run_with_ray(
    config: TrainConfig, on_progress: Callable[[dict[str, Any]], None] | None
) -> dict[str, Any]:
    """Run the workers to the end of the run and return the notes.

    Raises:
        ConfigError: the cluster has no GPU and one is asked for.
        RamRayError: Ray Train gave up, after more deaths than `max_failures`.
    """
    check_decoders(config.decode.formats)
    use_gpu = _use_gpu(config)
    # on the driver's own node: it must outlive every worker
    here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
    actor: Any = ray.remote(RunNotes).options(num_cpus=0, scheduling_strategy=here).remote()  # pyright: ignore[reportFunctionMemberAccess]
    os.environ["RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S"] = str(config.start_timeout_s)
    with tempfile.TemporaryDirectory(prefix="ram-ray-train-") as folder:
        trainer = TorchTrainer(
            run_on_ray,
            train_loop_config={"config": config, "notes": actor},
            torch_config=TorchConfig(backend="nccl" if use_gpu else "gloo"),
            scaling_config=_scaling(config, use_gpu),
            run_config=RunConfig(
                name="run",
                storage_path=folder,  # Ray's own notes; checkpoints are in the run folder
                failure_config=FailureConfig(max_failures=config.max_failures),
            ),
        )
        with _following(actor, on_progress):
            error = _fit(trainer)
    notes: dict[str, Any] = ray.get(actor.snapshot.remote())
    ray.kill(actor)
    if error is not None and notes["failure"] is None:
        raise RamRayError(f"Training was given up: {error}") from error
    return notes


def run_on_ray(settings: dict[str, Any]) -> None:
    """Be one worker of Ray Train."""
    context = get_context()
    notes = RemoteNotes(settings["notes"])
    worker = Worker(
        rank=context.get_world_rank(),
        world=context.get_world_size(),
        device=str(get_device()),
        attempt=len(notes.snapshot()["attempts"]) + 1,
    )
    run_worker(settings["config"], worker, notes)


def _fit(trainer: TorchTrainer) -> Exception | None:
    from ray.train import TrainingFailedError

    try:
        return trainer.fit().error
    except TrainingFailedError as error:
        return error


def _scaling(config: TrainConfig, use_gpu: bool) -> ScalingConfig:
    number = config.min_workers
    if config.max_workers > config.min_workers:
        number = (config.min_workers, config.max_workers)
    resources = {"CPU": config.cpus_per_worker} | ({"GPU": 1.0} if use_gpu else {})
    return ScalingConfig(
        num_workers=number,
        use_gpu=use_gpu,
        resources_per_worker=resources,
        placement_strategy="SPREAD",
        elastic_resize_monitor_interval_s=config.resize_interval_s,
    )


def _use_gpu(config: TrainConfig) -> bool:
    gpus = ray.cluster_resources().get("GPU", 0)
    if config.device == "cuda" and gpus < config.min_workers and config.address is None:
        raise ConfigError(f"device is 'cuda', but Ray has {gpus:g} GPUs; use --device cpu.")
    return config.device == "cuda" or (config.device == "auto" and gpus >= config.min_workers)


class _following:  # noqa: N801  a context manager, used like a function
    """Tell of progress while Ray Train runs."""

    def __init__(self, actor: Any, on_progress: Callable[[dict[str, Any]], None] | None) -> None:
        self._actor, self._on_progress = actor, on_progress
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._follow, daemon=True)

    def __enter__(self) -> None:
        if self._on_progress is not None:
            self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        if self._on_progress is not None:
            self._thread.join()

    def _follow(self) -> None:
        assert self._on_progress is not None
        last = None
        while not self._ended.wait(_POLL_S):
            notes: dict[str, Any] = ray.get(self._actor.snapshot.remote())
            line = notes["line"]
            if line and line != last:
                self._on_progress(line)
                last = line

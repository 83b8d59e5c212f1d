"""Train a model: samples and labels -> run folder -> workers -> model folder.

    train(TrainConfig(data="photos", labels="labels.parquet", vocabulary="tags.txt", output="run"))

A run that was killed goes on from its newest whole checkpoint: call it again. The workers may come
and go meanwhile; what is trained on in which step does not depend on their number.
"""

import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ram_ray.cluster import ray_session
from ram_ray.errors import RamRayError
from ram_ray.images.extra_formats import decoder_versions
from ram_ray.storage.stores import Store, open_store, split_url
from ram_ray.training.checkpoints import newest_whole, read_checkpoint
from ram_ray.training.config import TrainConfig
from ram_ray.training.contrastive import ClipStudent
from ram_ray.training.inputs import prepare_run
from ram_ray.training.loop import run_worker
from ram_ray.training.notes import Attempt, RunNotes, recomputed
from ram_ray.training.students import Student
from ram_ray.training.trackers import check_trackers
from ram_ray.training.trained import Worker
from ram_ray.workers.tagger import choose_device

MODEL = "model"
"""Of the run folder: the trained model folder."""
OnProgress = Callable[[dict[str, Any]], None]


class TrainingFailedError(RamRayError):
    """What a worker met that no restart would heal."""

    def __init__(self, message: str, exit_code: int = 1) -> None:
        super().__init__(message)
        self.exit_code = exit_code


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainResult:
    """What came of a run."""

    output: str
    model: str
    """The model folder: `ram-ray tag --model` takes it."""
    steps: int
    epochs: int
    samples: int
    unlabelled: int
    """Images without a label, which are left out."""
    last: dict[str, Any]
    """Metrics of the last step; empty where nothing was left to do."""
    attempts: tuple[Attempt, ...]
    """Starts of the workers in this call: more than one after deaths and resizes."""
    recomputed_steps: int
    """Steps done more than once, because a checkpoint was older than a death."""
    remarks: tuple[str, ...]
    seconds: float


def train(
    config: TrainConfig,
    *,
    on_progress: OnProgress | None = None,
    on_remark: Callable[[str], None] = lambda remark: None,
) -> TrainResult:
    """Train a model and return where it is.

    Args:
        on_progress: told the metrics of a step.
        on_remark: told, before the first step, what the user should hear; the result has it too.

    Raises:
        ConfigError: a setting is wrong, or the output holds another run; nothing was changed.
        UnreachableError: data, labels, output or cluster cannot be reached.
        DiskFullError: the output's disk is full.
        CheckpointLostError: every checkpoint of the run is gone or damaged.
        TrainingFailedError: what workers met, such as a loss that is not finite.
    """
    started = time.monotonic()
    check_trackers(config)
    decoder_versions(config.decode.formats)  # refuse early what no decoder could read
    store = open_store(config.output, config.store, create=True)
    run, student = prepare_run(config, store)
    for remark in run.remarks:
        on_remark(remark)
    notes = _run_workers(config, on_progress)
    if notes["failure"] is not None:
        raise TrainingFailedError(*notes["failure"])
    model = _export(config, store, student)
    return TrainResult(
        output=config.output,
        model=model,
        steps=run.plan.num_steps,
        epochs=config.epochs,
        samples=len(run.samples),
        unlabelled=run.num_unlabelled,
        last=notes["line"],
        attempts=tuple(notes["attempts"]),
        recomputed_steps=recomputed(notes["attempts"]),
        remarks=run.remarks + tuple(notes["remarks"]),
        seconds=time.monotonic() - started,
    )


def _run_workers(config: TrainConfig, on_progress: OnProgress | None) -> dict[str, Any]:
    """Train in this process where one process is all, else with Ray Train; return the notes."""
    if config.max_workers == 1 and config.num_decoders == 0 and config.address is None:
        notes = RunNotes(on_line=on_progress)
        run_worker(config, Worker(device=choose_device(config.device)), notes)
        return notes.snapshot()
    with ray_session(config.address):
        from ram_ray.training.workers import run_with_ray

        return run_with_ray(config, on_progress)


def _export(config: TrainConfig, store: Store, student: Student | ClipStudent) -> str:
    """Write the model folder of the newest checkpoint and return its place."""
    step, _ = newest_whole(store)
    tensors, _ = read_checkpoint(store, step)
    scheme, _, folder = split_url(config.output)
    if scheme == "file":
        return str(student.export(config, tensors, Path(folder) / MODEL))
    with tempfile.TemporaryDirectory() as temporary:
        written = student.export(config, tensors, Path(temporary) / MODEL)
        # checksums.json last: without it there is no model
        files = sorted(written.iterdir(), key=lambda file: file.name == "checksums.json")
        for file in files:
            store.write(f"{MODEL}/{file.name}", file.read_bytes())
    return f"{config.output.rstrip('/')}/{MODEL}"

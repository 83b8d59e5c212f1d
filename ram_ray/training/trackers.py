"""Further places for a run's metrics: TensorBoard, MLflow, Weights & Biases.

A tracker that cannot be opened stops the run before its first step. One that fails later costs the
run nothing but its own lines: training goes on, and the user is told.
"""

import hashlib
import re
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any, Protocol

from requests import RequestException

from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage.reasons import first_line
from ram_ray.storage.stores import Store, split_url
from ram_ray.training.config import TrainConfig

BOARD = "tensorboard"
"""Folder of the event files, in a local run folder."""
EXPERIMENT = "ram-ray"
"""Name at MLflow."""
_SHOWN = (
    "data", "labels", "captions", "from_model", "variant", "image_size_px", "epochs", "batch_size",
    "learning_rate", "schedule", "weight_decay", "augment", "seed",
)  # fmt: skip
"""Settings that trackers list."""


class Tracker(Protocol):
    """Takes the numbers of each logged step."""

    name: str

    def add(self, step: int, numbers: dict[str, float]) -> None:
        """Take the metrics after `step` steps."""

    def close(self, *, failed: bool) -> None:
        """End the run there; `failed`: it did not come to its last step."""


def check_trackers(config: TrainConfig) -> None:
    """Check that the packages of the trackers asked for are there.

    Raises:
        ConfigError: naming what to install.
    """
    for wanted, package in ((config.mlflow, "mlflow"), (config.wandb, "wandb")):
        if wanted is not None:
            _needed(package)


def open_trackers(store: Store, config: TrainConfig, first_step: int) -> list[Tracker]:
    """Return the trackers that a run asks for.

    Raises:
        ConfigError: a package is missing.
        UnreachableError: a tracker refuses or does not answer.
    """
    trackers: list[Tracker] = []
    scheme, _, folder = split_url(store.url)
    local = Path(folder) if scheme == "file" else None
    if config.tensorboard and local is not None:
        trackers.append(TensorBoard(local / BOARD, first_step))
    if config.mlflow is not None:
        trackers.append(MlFlow(config.mlflow, config))
    if config.wandb is not None:
        trackers.append(WandB(config.wandb, config, local))
    return trackers


class TensorBoard:
    """Event files in a local run folder."""

    name = "TensorBoard"

    def __init__(self, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        # purge_step hides what an earlier attempt logged beyond the checkpoint
        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)

    def add(self, step: int, numbers: dict[str, float]) -> None:
        """As `Tracker`."""
        for name, value in numbers.items():
            self._writer.add_scalar(f"train/{name}", value, step)

    def close(self, *, failed: bool) -> None:
        """As `Tracker`."""
        self._writer.close()


class MlFlow:
    """A run at an MLflow tracking server or store; a resumed run goes on in its own.

    Its client, not the module's functions: those allow one run a process.
    """

    name = "MLflow"

    def __init__(self, uri: str, config: TrainConfig) -> None:
        mlflow = _needed("mlflow")
        self._metric = mlflow.entities.Metric
        self._errors = (mlflow.exceptions.MlflowException, RequestException)
        try:
            self._client = mlflow.MlflowClient(tracking_uri=uri)
            self._run_id = self._open(config)
        except self._errors as error:
            raise UnreachableError(
                f"MLflow at {uri} cannot be used: {first_line(error)}."
            ) from error

    def _open(self, config: TrainConfig) -> str:
        client, mark = self._client, _mark(config)
        experiment = client.get_experiment_by_name(EXPERIMENT)
        if experiment is None:
            number = client.create_experiment(EXPERIMENT)
        else:
            number = experiment.experiment_id
        found = client.search_runs([number], f"tags.`ram_ray.run` = '{mark}'", max_results=1)
        if found:
            client.update_run(found[0].info.run_id, status="RUNNING")
            return found[0].info.run_id
        tags = {"ram_ray.run": mark, "ram_ray.output": config.output}
        run_id = client.create_run(number, run_name=_title(config), tags=tags).info.run_id
        for name, value in _settings(config).items():
            client.log_param(run_id, name, value)
        return run_id

    def add(self, step: int, numbers: dict[str, float]) -> None:
        """As `Tracker`."""
        now = int(time.time() * 1000)
        metrics = [self._metric(name, value, now, step) for name, value in numbers.items()]
        try:
            self._client.log_batch(self._run_id, metrics=metrics)
        except self._errors as error:
            raise TrackerError(first_line(error)) from error

    def close(self, *, failed: bool) -> None:
        """As `Tracker`."""
        try:
            self._client.set_terminated(self._run_id, "FAILED" if failed else "FINISHED")
        except self._errors as error:
            raise TrackerError(first_line(error)) from error


class WandB:
    """A run at Weights & Biases; WANDB_MODE=offline keeps it in the run folder."""

    name = "Weights & Biases"

    def __init__(self, project: str, config: TrainConfig, folder: Path | None) -> None:
        wandb = _needed("wandb")
        self._errors = (wandb.Error, RequestException)
        title = _title(config)
        # not the name alone: runs in other folders may end in it too
        number = f"{re.sub(r'[^A-Za-z0-9_-]', '-', title)}-{_mark(config)[:8]}"
        try:
            self._run = wandb.init(
                project=project,
                id=number,
                name=title,
                resume="allow",
                dir=None if folder is None else str(folder),
                config=_settings(config) | {"output": config.output},
                settings=wandb.Settings(console="off"),  # our output is no part of the metrics
            )
        except self._errors as error:
            raise UnreachableError(
                f"Weights & Biases cannot be used: {first_line(error)}. Log in with `wandb login`, "
                "or set WANDB_MODE=offline."
            ) from error

    def add(self, step: int, numbers: dict[str, float]) -> None:
        """As `Tracker`; steps that a restart repeats are passed over there."""
        try:
            self._run.log(numbers, step=step)
        except self._errors as error:
            raise TrackerError(first_line(error)) from error

    def close(self, *, failed: bool) -> None:
        """As `Tracker`."""
        try:
            self._run.finish(exit_code=int(failed))
        except self._errors as error:
            raise TrackerError(first_line(error)) from error


class TrackerError(Exception):
    """A tracker failed while the run goes on; the text says how."""


def _needed(package: str) -> Any:
    try:
        return __import__(package)
    except ImportError as error:
        raise ConfigError(
            f"{package} is asked for, but not installed: pip install 'ram-ray[{package}]'."
        ) from error


def _mark(config: TrainConfig) -> str:
    """Return what tells a run from others: a hash, because names of folders hold any letter."""
    return hashlib.sha256(config.output.rstrip("/").encode()).hexdigest()


def _title(config: TrainConfig) -> str:
    return config.output.rstrip("/").rsplit("/", 1)[-1]


def _settings(config: TrainConfig) -> dict[str, Any]:
    values = asdict(config)
    return {name: values[name] for name in _SHOWN if values[name] is not None}

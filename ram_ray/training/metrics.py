"""Metrics of a run: metrics.jsonl and loss.svg in its folder, TensorBoard, MLflow, W&B.

Only the first worker writes. Lines of steps that a restart repeats are dropped, so the file always
tells the history of the weights that survived.
"""

import json
import math
import time
from html import escape
from pathlib import Path
from typing import Any

from ram_ray.errors import ConfigError
from ram_ray.storage.stores import Store, split_url
from ram_ray.training.config import TrainConfig

METRICS, CURVE, BOARD = "metrics.jsonl", "loss.svg", "tensorboard"
_FLUSH_S = 20.0  # the whole file is written each time: object stores cannot append


class MetricsLog:
    """Takes a line per logged step and spreads it."""

    def __init__(self, store: Store, config: TrainConfig, first_step: int) -> None:
        self._store = store
        self._lines = [line for line in read_metrics(store) if line["step"] <= first_step]
        self._sinks = _open_sinks(store, config, first_step)
        self._flushed = time.monotonic()

    def add(self, line: dict[str, Any]) -> None:
        """Take the metrics of one step; line["step"] is how many steps are done."""
        self._lines.append(line)
        for sink in self._sinks:
            sink.add(line)
        if time.monotonic() - self._flushed > _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write the files as they stand."""
        text = "".join(json.dumps(line) + "\n" for line in self._lines)
        self._store.write(METRICS, text.encode())
        self._store.write(CURVE, draw_losses(self._lines).encode())
        self._flushed = time.monotonic()

    def close(self) -> None:
        """Write the files and end all sinks."""
        self.flush()
        for sink in self._sinks:
            sink.close()


def read_metrics(store: Store) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl; none before the first are written."""
    try:
        text = store.read(METRICS).decode()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]


class _TensorBoard:
    """Event files in a local run folder."""

    def __init__(self, folder: Path, first_step: int) -> None:
        from torch.utils.tensorboard.writer import SummaryWriter

        # purge_step hides what an earlier attempt logged beyond the checkpoint
        self._writer = SummaryWriter(str(folder), purge_step=first_step + 1)

    def add(self, line: dict[str, Any]) -> None:
        for name, value in _numbers(line):
            self._writer.add_scalar(f"train/{name}", value, line["step"])

    def close(self) -> None:
        self._writer.close()


class _MlFlow:
    def __init__(self, uri: str, config: TrainConfig) -> None:
        mlflow = _needed("mlflow")
        mlflow.set_tracking_uri(uri)
        mlflow.set_experiment("ram-ray")
        client = mlflow.MlflowClient()
        experiment = client.get_experiment_by_name("ram-ray").experiment_id
        named = f"tags.`mlflow.runName` = '{config.output}'"
        found = client.search_runs([experiment], named, max_results=1)
        run_id = found[0].info.run_id if found else None  # a resumed run goes on in its own
        mlflow.start_run(run_id=run_id, run_name=None if run_id else config.output)
        if run_id is None:
            names = ("data", "batch_size", "learning_rate", "epochs", "seed", "variant")
            mlflow.log_params({name: getattr(config, name) for name in names})
        self._mlflow = mlflow

    def add(self, line: dict[str, Any]) -> None:
        self._mlflow.log_metrics(dict(_numbers(line)), step=line["step"])

    def close(self) -> None:
        self._mlflow.end_run()


class _WandB:
    def __init__(self, project: str, config: TrainConfig) -> None:
        name = config.output.rstrip("/").rsplit("/", 1)[-1]
        self._run = _needed("wandb").init(project=project, id=name, name=name, resume="allow")

    def add(self, line: dict[str, Any]) -> None:
        self._run.log(dict(_numbers(line)), step=line["step"])

    def close(self) -> None:
        self._run.finish()


def check_sinks(config: TrainConfig) -> None:
    """Check that the packages of the sinks asked for are there.

    Raises:
        ConfigError: naming what to install.
    """
    for wanted, package in ((config.mlflow, "mlflow"), (config.wandb, "wandb")):
        if wanted is not None:
            _needed(package)


def _needed(package: str) -> Any:
    try:
        return __import__(package)
    except ImportError as error:
        raise ConfigError(
            f"{package} is asked for, but not installed: pip install 'ram-ray[{package}]'."
        ) from error


def _open_sinks(
    store: Store, config: TrainConfig, first_step: int
) -> list[_TensorBoard | _MlFlow | _WandB]:
    sinks: list[_TensorBoard | _MlFlow | _WandB] = []
    scheme, _, folder = split_url(store.url)
    if config.tensorboard and scheme == "file":
        sinks.append(_TensorBoard(Path(folder) / BOARD, first_step))
    if config.mlflow is not None:
        sinks.append(_MlFlow(config.mlflow, config))
    if config.wandb is not None:
        sinks.append(_WandB(config.wandb, config))
    return sinks


def _numbers(line: dict[str, Any]) -> list[tuple[str, float]]:
    return [(name, float(value)) for name, value in line.items() if name != "step"]


_WIDTH, _HEIGHT, _MARGIN = 720, 320, 48
_COLOURS = ("#1f5fbf", "#c2571a", "#2c8a4b", "#8a3fa0", "#7a6a00")


def draw_losses(lines: list[dict[str, Any]]) -> str:
    """Return an SVG of the losses over steps, on a logarithmic scale."""
    not_losses = ("step", "epoch", "learning_rate", "grad_norm", "images_per_s", "errors")
    names = [name for name in (lines[-1] if lines else ()) if name not in not_losses]
    curves = {
        name: [(line["step"], line[name]) for line in lines if line.get(name, 0) > 0]
        for name in names
    }
    curves = {name: points for name, points in curves.items() if points}
    values = [value for points in curves.values() for _, value in points] or [1.0]
    low, high = math.log10(min(values)), math.log10(max(values))
    low, high = (low - 0.05, high + 0.05) if high - low < 0.1 else (low, high)
    last = max((line["step"] for line in lines), default=1)

    def x(step: float) -> float:
        return _MARGIN + (_WIDTH - 2 * _MARGIN) * step / max(last, 1)

    def y(value: float) -> float:
        return (
            _HEIGHT - _MARGIN - (_HEIGHT - 2 * _MARGIN) * (math.log10(value) - low) / (high - low)
        )

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" '
        'font-family="sans-serif" font-size="12">',
        f'<rect width="{_WIDTH}" height="{_HEIGHT}" fill="white"/>',
        f'<text x="{_WIDTH / 2}" y="{_HEIGHT - 10}" text-anchor="middle">steps</text>',
        f'<text x="{_WIDTH - _MARGIN}" y="{_HEIGHT - 28}" text-anchor="end">{last}</text>',
    ]
    for level in (low, (low + high) / 2, high):
        at = y(10**level)
        parts.append(
            f'<line x1="{_MARGIN}" x2="{_WIDTH - _MARGIN}" y1="{at:.1f}" y2="{at:.1f}" '
            f'stroke="#ddd"/><text x="{_MARGIN - 6}" y="{at + 4:.1f}" text-anchor="end">'
            f"{10**level:.3g}</text>"
        )
    for number, (name, points) in enumerate(curves.items()):
        colour = _COLOURS[number % len(_COLOURS)]
        path = " ".join(f"{x(step):.1f},{y(value):.1f}" for step, value in points)
        parts.append(
            f'<polyline points="{path}" fill="none" stroke="{colour}" stroke-width="1.5"/>'
            f'<text x="{_MARGIN + 90 * number}" y="24" fill="{colour}">{escape(name)}</text>'
        )
    return "\n".join([*parts, "</svg>"]) + "\n"

"""Metrics of a run: metrics.jsonl and loss.svg in its folder, and trackers.

Only the first worker writes. Lines of steps that a restart repeats are dropped, so the file always
tells the history of the weights that survived.
"""

import json
import math
import time
from html import escape
from typing import Any

from ram_ray.storage.stores import Store
from ram_ray.training.config import TrainConfig
from ram_ray.training.trackers import Tracker, TrackerError, open_trackers

METRICS, CURVE = "metrics.jsonl", "loss.svg"
_FLUSH_S = 20.0  # the whole file is written each time: object stores cannot append


class MetricsLog:
    """Takes a line per logged step and spreads it."""

    def __init__(self, store: Store, config: TrainConfig, first_step: int) -> None:
        self._store = store
        self._lines = [line for line in read_metrics(store) if line["step"] <= first_step]
        self._trackers = open_trackers(store, config, first_step)
        self._flushed = time.monotonic()
        self.remarks: list[str] = []
        """What the user should hear."""

    def add(self, line: dict[str, Any]) -> None:
        """Take the metrics of one step; line["step"] is how many steps are done."""
        self._lines.append(line)
        for tracker in self._trackers:
            try:
                tracker.add(line["step"], _numbers(line))
            except TrackerError as error:
                self._note(tracker, error)
        if time.monotonic() - self._flushed > _FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Write the files as they stand."""
        text = "".join(json.dumps(line) + "\n" for line in self._lines)
        self._store.write(METRICS, text.encode())
        self._store.write(CURVE, draw_losses(self._lines).encode())
        self._flushed = time.monotonic()

    def close(self, *, failed: bool) -> None:
        """End all trackers; write the files unless the run failed.

        After a failure they stay as at the last checkpoint, which is where the run goes on.
        """
        if not failed:
            self.flush()
        for tracker in self._trackers:
            try:
                tracker.close(failed=failed)
            except TrackerError as error:
                self._note(tracker, error)

    def _note(self, tracker: Tracker, error: TrackerError) -> None:
        remark = f"{tracker.name} takes no metrics: {error}. Training goes on; {METRICS} has all."
        if remark not in self.remarks:
            self.remarks.append(remark)


def read_metrics(store: Store) -> list[dict[str, Any]]:
    """Return the lines of metrics.jsonl; none before the first are written."""
    try:
        text = store.read(METRICS).decode()
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in text.splitlines()]


def _numbers(line: dict[str, Any]) -> dict[str, float]:
    return {name: float(value) for name, value in line.items() if name != "step"}


_WIDTH, _HEIGHT, _MARGIN = 720, 320, 48
_COLOURS = ("#1f5fbf", "#c2571a", "#2c8a4b", "#8a3fa0", "#7a6a00")


def draw_losses(lines: list[dict[str, Any]]) -> str:
    """Return an SVG of the losses over steps, on a logarithmic scale."""
    not_losses = ("step", "epoch", "learning_rate", "grad_norm", "images_per_s", "errors")
    names = [name for name in (lines[-1] if lines else ()) if name not in not_losses]
    if len(names) == 2:
        names = names[1:]  # the total of one loss is that loss
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

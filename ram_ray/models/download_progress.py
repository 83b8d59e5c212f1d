"""How far a download is: a bar on a terminal, a line every few seconds elsewhere."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from ram_ray.console.progress import LINE_INTERVAL_S, format_duration
from ram_ray.models.files import OnBytes


@contextmanager
def show_downloads(to: TextIO | None = None) -> Iterator[OnBytes]:
    """Yield the `on_bytes` of a fetch of several files; shown on stderr unless told."""
    stream: TextIO = to or sys.stderr
    if not stream.isatty():
        yield _PlainLines(stream).update
        return
    columns = (BarColumn(30), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    name = TextColumn("{task.description}", markup=False)
    with Progress(name, *columns, console=Console(file=stream)) as bars:
        tasks: dict[str, TaskID] = {}

        def update(name: str, done: int, total: int | None) -> None:
            if name not in tasks:
                # what an earlier call left is not speed: it counts from the first report
                tasks[name] = bars.add_task(name, total=total, completed=done)
            bars.update(tasks[name], total=total, completed=done)

        yield update


class _PlainLines:
    """One line per file every LINE_INTERVAL_S, and one when it is whole."""

    def __init__(self, stream: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._stream = stream
        self._clock = clock
        self._name = ""
        self._start = (0.0, 0)
        self._next_s = 0.0

    def update(self, name: str, done: int, total: int | None) -> None:
        now = self._clock()
        if name != self._name:
            self._name, self._start, self._next_s = name, (now, done), now
        if now < self._next_s and done != total:
            return
        self._next_s = now + LINE_INTERVAL_S
        start_s, start_bytes = self._start
        rate = (done - start_bytes) / (now - start_s) if now > start_s else 0.0
        print(describe(name, done, total, rate), file=self._stream, flush=True)


def describe(name: str, done: int, total: int | None, rate: float) -> str:
    """Return one line: name, bytes, rate (bytes per second, 0: unknown) and time left."""
    parts = [_bytes(done)]
    if total:
        parts = [f"{_bytes(done)} of {_bytes(total)} ({done / total:.0%})"]
    if rate > 0:
        parts.append(f"{_bytes(rate)}/s")
    if rate > 0 and total is not None and done < total:
        parts.append(f"{format_duration((total - done) / rate)} left")
    return f"{name}: {', '.join(parts)}"


def _bytes(count: float) -> str:
    for unit, size in (("GB", 1e9), ("MB", 1e6)):
        if count >= size:
            return f"{count / size:.2f} {unit}"
    return f"{count / 1e3:.1f} kB"

"""How far a run is, and how that is shown: a bar on a terminal, plain lines elsewhere."""

import sys
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TextIO

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, TaskID, TextColumn
from rich.progress import Progress as RichProgress
from rich.table import Column

LINE_INTERVAL_S = 5.0  # a log stays readable, a person still sees it move
BAR_WIDTH = 20  # of 80 columns, which leaves room for counts, rate and time left
RATE_WINDOW_S = 30.0  # long enough to smooth batches, short enough to notice a slow store


@dataclass(frozen=True, kw_only=True, slots=True)
class Progress:
    """One moment of a run; `images_done` includes what earlier runs committed."""

    phase: str
    """listing, tagging or committing."""
    images_done: int
    """Tagged or quarantined; while listing: found."""
    images_total: int | None
    """None while it is not known yet."""
    quarantined: int
    shards_committed: int
    shards_total: int | None
    elapsed_s: float
    """Monotonic time since the run started."""


class RateMeter:
    """Images per second over the last RATE_WINDOW_S, of listing or of all that follows it.

    The first report is where counting starts: images that an earlier run committed are in it and
    do not count as speed.
    """

    def __init__(self) -> None:
        self._listing = True
        self._samples: deque[tuple[float, int]] = deque()

    def update(self, progress: Progress) -> float | None:
        """Return the rate after `progress`, or None while it cannot be known."""
        if _is_listing(progress) != self._listing:
            self._listing = _is_listing(progress)
            self._samples.clear()
        self._samples.append((progress.elapsed_s, progress.images_done))
        newest_s, newest_done = self._samples[-1]
        while len(self._samples) > 2 and self._samples[1][0] <= newest_s - RATE_WINDOW_S:
            self._samples.popleft()
        oldest_s, oldest_done = self._samples[0]
        if newest_s <= oldest_s or newest_done <= oldest_done:
            return None
        return (newest_done - oldest_done) / (newest_s - oldest_s)


@contextmanager
def show_progress(stream: TextIO = sys.stderr) -> Iterator[Callable[[Progress], None]]:
    """Yield the `on_progress` of a run; its last state stays on screen when the block ends."""
    if stream.isatty():
        with _TerminalBar(stream) as bar:
            yield bar.update
        return
    lines = _PlainLines(stream)
    try:
        yield lines.update
    finally:
        lines.flush()


def describe(progress: Progress, rate: float | None) -> str:
    """Return one plain line: phase, counts, rate and time left."""
    if progress.phase == "listing":
        return f"listing: {progress.images_done:,} images found"
    parts = [_counts(progress)]
    if progress.quarantined:
        parts.append(f"{progress.quarantined:,} quarantined")
    if rate is not None:
        parts.append(_rate(rate))
    if (left_s := _seconds_left(progress, rate)) is not None:
        parts.append(f"{format_duration(left_s)} left")
    if progress.shards_total is not None:
        parts.append(f"{progress.shards_committed:,}/{progress.shards_total:,} shards committed")
    return f"{progress.phase}: {', '.join(parts)}"


def format_duration(seconds: float) -> str:
    """Return `45 s`, `3 min 20 s`, `2 h 05 min` or `3 d 4 h`."""
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    minutes, whole = divmod(whole, 60)
    if minutes < 60:
        return f"{minutes} min {whole:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} min"
    return f"{hours // 24} d {hours % 24} h"


class _PlainLines:
    """One line every LINE_INTERVAL_S, one when listing ends, and the last state."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._meter = RateMeter()
        self._listing = True
        self._next_s = 0.0
        self._unsaid: str | None = None

    def update(self, progress: Progress) -> None:
        rate = self._meter.update(progress)
        if _is_listing(progress) != self._listing:
            self.flush()
            self._listing = _is_listing(progress)
            self._next_s = 0.0
        self._unsaid = describe(progress, rate)
        if progress.elapsed_s >= self._next_s:
            self._next_s = progress.elapsed_s + LINE_INTERVAL_S
            self.flush()

    def flush(self) -> None:
        if self._unsaid is not None:
            print(self._unsaid, file=self._stream, flush=True)
            self._unsaid = None


class _TerminalBar:
    """A bar for listing and one for all that follows it, in place."""

    def __init__(self, stream: TextIO) -> None:
        self._meter = RateMeter()
        self._listing = True
        self._task: TaskID | None = None
        self._bar = RichProgress(
            TextColumn("[bold]{task.description:<10}", table_column=Column(no_wrap=True)),
            # The bar has its width on any terminal; what does not fit of the facts is cut.
            BarColumn(bar_width=BAR_WIDTH, table_column=Column(min_width=BAR_WIDTH)),
            TextColumn(
                "{task.fields[facts]}",
                table_column=Column(ratio=1, no_wrap=True, overflow="ellipsis"),
            ),
            console=Console(file=stream),
            expand=True,
        )

    def __enter__(self) -> "_TerminalBar":
        self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def update(self, progress: Progress) -> None:
        rate = self._meter.update(progress)
        if self._task is None or _is_listing(progress) != self._listing:
            if self._task is not None:
                found = self._bar.tasks[self._task].completed
                self._bar.update(self._task, total=found)  # full: listing is over
            self._listing = _is_listing(progress)
            self._task = self._bar.add_task(progress.phase, total=None, facts="")
        facts = describe(progress, rate).removeprefix(f"{progress.phase}: ")
        self._bar.update(
            self._task,
            description=progress.phase,
            total=None if _is_listing(progress) else progress.images_total,
            completed=progress.images_done,
            facts=escape(facts),
        )


def _is_listing(progress: Progress) -> bool:
    # Tagging and committing alternate, shard by shard: one stretch of work to look at.
    return progress.phase == "listing"


def _counts(progress: Progress) -> str:
    if progress.images_total is None:
        return f"{progress.images_done:,} images"
    share = progress.images_done / progress.images_total if progress.images_total else 1.0
    return f"{progress.images_done:,} of {progress.images_total:,} images ({share:.0%})"


def _rate(rate: float) -> str:
    return f"{rate:,.0f} images/s" if rate >= 10 else f"{rate:.1f} images/s"


def _seconds_left(progress: Progress, rate: float | None) -> float | None:
    if rate is None or progress.images_total is None:
        return None
    left = progress.images_total - progress.images_done
    return left / rate if left > 0 else None

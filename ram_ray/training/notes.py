"""What workers tell the driver while they run, and what survives when they are killed."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, Protocol

MAX_FRUITLESS_STARTS = 5
"""Starts of the workers in a row without a step: then it is no death, but an error that returns."""


@dataclass(slots=True)
class Attempt:
    """One start of the group of workers."""

    number: int
    workers: int
    first_step: int
    reached: int
    """Steps done when it ended; what the next attempt resumed before is done twice."""


@dataclass(slots=True)
class RunNotes:
    """Lives beside the driver, in an actor of its own or in the same process."""

    attempts: list[Attempt] = field(default_factory=list)
    failure: tuple[str, int] | None = None
    remarks: list[str] = field(default_factory=list)
    line: dict[str, Any] = field(default_factory=dict)
    on_line: Callable[[dict[str, Any]], None] | None = None
    """Called with every line of metrics."""
    _fruitless: int = 0
    _error: str = ""
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Note that workers were started, whether or not they get as far as a checkpoint."""
        with self._lock:
            self._fruitless += 1
            if self._fruitless > MAX_FRUITLESS_STARTS and self.failure is None:
                message = (
                    f"Training started {MAX_FRUITLESS_STARTS} times without doing a step; the last "
                    f"error: {self._error or 'a worker died without a word'}"
                )
                self.failure = (message, 1)

    def error(self, text: str) -> None:
        """Note why a worker ended; its death may be another one's fault."""
        with self._lock:
            self._error = text

    def start(self, workers: int, first_step: int) -> None:
        """Note a start of the workers."""
        with self._lock:
            number = len(self.attempts) + 1
            self.attempts.append(Attempt(number, workers, first_step, first_step))

    def reach(self, step: int, line: dict[str, Any]) -> None:
        """Note that `step` steps are done, and the metrics of the last."""
        with self._lock:
            self.attempts[-1].reached = max(self.attempts[-1].reached, step)
            self._fruitless = 0
            self.line = line
        if self.on_line is not None:
            self.on_line(line)

    def fail(self, message: str, exit_code: int) -> None:
        """Note an error that no restart would heal; the first one stays."""
        with self._lock:
            self.failure = self.failure or (message, exit_code)

    def remark(self, text: str) -> None:
        """Note something the user should hear."""
        with self._lock:
            if text not in self.remarks:
                self.remarks.append(text)

    def snapshot(self) -> dict[str, Any]:
        """Return everything noted."""
        with self._lock:
            return {
                "attempts": list(self.attempts),
                "failure": self.failure,
                "remarks": list(self.remarks),
                "line": dict(self.line),
            }


def recomputed(attempts: list[Attempt]) -> int:
    """Return how many steps were done again after the restart that followed them."""
    return sum(max(0, old.reached - new.first_step) for old, new in pairwise(attempts))


class Notes(Protocol):
    """How a worker reaches the notes."""

    def begin(self) -> None: ...
    def error(self, text: str) -> None: ...
    def start(self, workers: int, first_step: int) -> None: ...
    def reach(self, step: int, line: dict[str, Any]) -> None: ...
    def fail(self, message: str, exit_code: int) -> None: ...
    def remark(self, text: str) -> None: ...
    def snapshot(self) -> dict[str, Any]: ...


class RemoteNotes:
    """`RunNotes` in a Ray actor; only what decides about a restart is waited for."""

    def __init__(self, actor: Any) -> None:
        self._actor = actor

    def begin(self) -> None:
        """As in `RunNotes`."""
        self._wait(self._actor.begin.remote())

    def error(self, text: str) -> None:
        """As in `RunNotes`."""
        self._wait(self._actor.error.remote(text))

    def start(self, workers: int, first_step: int) -> None:
        """As in `RunNotes`."""
        self._wait(self._actor.start.remote(workers, first_step))

    def reach(self, step: int, line: dict[str, Any]) -> None:
        """As in `RunNotes`, without waiting."""
        self._actor.reach.remote(step, line)

    def fail(self, message: str, exit_code: int) -> None:
        """As in `RunNotes`."""
        self._wait(self._actor.fail.remote(message, exit_code))

    def remark(self, text: str) -> None:
        """As in `RunNotes`, without waiting."""
        self._actor.remark.remote(text)

    def snapshot(self) -> dict[str, Any]:
        """As in `RunNotes`."""
        return self._wait(self._actor.snapshot.remote())

    def _wait(self, reference: Any) -> Any:
        import ray

        return ray.get(reference)

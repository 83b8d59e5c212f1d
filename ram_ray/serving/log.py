"""What an operator sees: one JSON line per request, death, drain and reload, on standard error.

A line has `time`, `level`, `event` and what belongs to the event; control characters are escaped,
as JSON does. Keys, addresses with queries, and bodies are never in it.

    {"time": "2026-11-29T10:40:00.123+00:00", "level": "info", "event": "request", "id": "4f0c...",
     "client": "alice", "method": "POST", "route": "/v1/tag", "images": 2, "model": "ram-mini",
     "status": 200, "refused": null, "ms": 48.1}

Of `ram-ray serve` with a Ray of its own the lines of all processes come out of it, through a pipe
in its temporary folder; of a cluster they are in Ray's log files of each process.
"""

import json
import logging
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

from ram_ray.serving.environment import FOLDER

_log = logging.getLogger(__name__)
_PIPE = "log"
_MOST_BYTES = 4_000  # PIPE_BUF: up to here a line of one process is never cut by another's
_MOST_CHARACTERS = 300

request_facts: ContextVar[dict[str, Any]] = ContextVar("request_facts")
"""Of the request under way: what its line will say."""


def note(event: str, *, level: int = logging.INFO, **fields: Any) -> None:
    """Write a line.

    Args:
        event: request, model_died, drain, reload, ...
        level: of `logging`.
        fields: numbers, texts or None.
    """
    _log.log(level, event, extra={"fields": fields})


def set_up_log(level: str) -> None:
    """Let this process write its lines, those of the package's other loggers included."""
    handler = _Lines()
    handler.setFormatter(_Json())
    logger = logging.getLogger("ram_ray")
    logger.handlers[:] = [handler]
    logger.setLevel(level.upper())
    logger.propagate = False


@contextmanager
def relayed_log() -> Iterator[None]:
    """Bring the lines of all processes of this machine's Ray to standard error."""
    path = os.path.join(os.environ[FOLDER], _PIPE)
    if not os.path.exists(path):
        os.mkfifo(path, 0o600)
    pipe = os.open(path, os.O_RDWR)  # its own writer too: it never ends by itself
    relay = threading.Thread(target=_copy, args=(pipe,), name="log", daemon=True)
    relay.start()
    try:
        yield
    finally:
        os.write(pipe, _END)
        relay.join()
        os.close(pipe)


_END = b"\0"


def _copy(pipe: int) -> None:
    ended = False
    while not ended:
        data = os.read(pipe, 2**16)
        ended = _END in data
        sys.stderr.write(data.replace(_END, b"").decode())
        sys.stderr.flush()


class _Lines(logging.Handler):
    """Writes to the pipe if there is one, else to standard error; never waits for a reader."""

    def __init__(self) -> None:
        super().__init__()
        path = os.path.join(os.environ.get(FOLDER, ""), _PIPE)
        self._pipe = os.open(path, os.O_RDWR | os.O_NONBLOCK) if os.path.exists(path) else None
        self._num_lost = 0

    def emit(self, record: logging.LogRecord) -> None:
        line = self.format(record)
        if self._num_lost:
            line = f'{line[:-1]}, "lines_lost_before": {self._num_lost}}}'
        if self._pipe is None:
            print(line, file=sys.stderr, flush=True)
            return
        try:
            os.write(self._pipe, f"{line}\n".encode())
            self._num_lost = 0
        except BlockingIOError:  # nobody reads: answering comes first
            self._num_lost += 1


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        """Return the record as one line of JSON."""
        fields: dict[str, Any] = getattr(record, "fields", {})
        event = record.getMessage() if fields else "message"
        if not fields:
            fields = {"message": record.getMessage()}
            if record.exc_info:
                fields["traceback"] = self.formatException(record.exc_info)[-_MOST_BYTES // 2 :]
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        shown = {name: _short(name, value) for name, value in fields.items()}
        line = {"time": at, "level": record.levelname.lower(), "event": event, **shown}
        return json.dumps(line)


def _short(name: str, value: Any) -> Any:
    if not isinstance(value, str) or name == "traceback":
        return value
    return value if len(value) <= _MOST_CHARACTERS else f"{value[:_MOST_CHARACTERS]}..."

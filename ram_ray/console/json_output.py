"""`--json`: one JSON value on standard output, and nothing else there.

Ray and C libraries write remarks of their own to standard output; while a command works for JSON,
they go to standard error.
"""

import json
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, TextIO

_OUTPUT: ContextVar[TextIO | None] = ContextVar("json_output", default=None)


def print_json(value: Any) -> None:
    """Write a value as one line to where `only_json` keeps standard output."""
    print(json.dumps(value, ensure_ascii=False), file=_OUTPUT.get() or sys.stdout, flush=True)


@contextmanager
def only_json() -> Iterator[None]:
    """Send whatever else is written to standard output to standard error."""
    shown = sys.stdout
    shown.flush()
    try:
        is_real = shown.fileno() == 1
    except (OSError, ValueError):  # a test's or a notebook's own stream
        is_real = False
    output = os.fdopen(os.dup(1), "w", encoding="utf-8") if is_real else shown
    token = _OUTPUT.set(output)
    if is_real:
        os.dup2(2, 1)
    sys.stdout = sys.stderr
    try:
        yield
    finally:
        sys.stdout = shown
        _OUTPUT.reset(token)
        if is_real:
            output.flush()
            os.dup2(output.fileno(), 1)
            output.close()

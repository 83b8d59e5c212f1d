"""Several chunks in flight in one process, one model call at a time."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Turns:
    """Says which of a process's threads may go on.

    A chunk is in flight from the start of its model call until its committer has its rows. When
    the process dies, each chunk in flight counts as begun: so one that may have killed a process
    before runs with nothing else in flight, and an innocent one is not blamed twice.
    """

    def __init__(self) -> None:
        self.model = threading.Lock()
        """Held during a model call."""
        self._changed = threading.Condition()
        self._in_flight = 0
        self._alone = False  # somebody is alone, or waits to be

    @contextmanager
    def chunk(self, *, alone: bool) -> Iterator[None]:
        """Wait until a chunk may begin; it is in flight until the block ends."""
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            if alone:
                self._alone = True
                self._changed.wait_for(lambda: not self._in_flight)
            self._in_flight += 1
        try:
            yield
        finally:
            with self._changed:
                self._in_flight -= 1
                if alone:
                    self._alone = False
                self._changed.notify_all()

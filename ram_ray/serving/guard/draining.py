"""The end of an ingress process: no new work, while what it has accepted is answered."""

from collections.abc import Iterator
from contextlib import contextmanager

from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.problems import Problem

_RETRY_AFTER_S = 5.0  # about what a restart takes


class Draining:
    """Whether new work is taken, and how many requests are being answered."""

    def __init__(self) -> None:
        self.num_accepted = 0
        """Requests that are in, work or not, and have no full answer yet."""
        self._has_begun = False

    def begin(self) -> None:
        """Take no new work from now on; there is no way back."""
        self._has_begun = True

    @property
    def reason(self) -> str:
        """Why this server is not ready; "" before the end has begun."""
        return "The server is ending." if self._has_begun else ""

    def check(self) -> None:
        """Refuse new work once the end has begun.

        Raises:
            Problem: not_ready.
        """
        if self._has_begun:
            raise Problem(
                RequestErrorCode.NOT_READY,
                f"{self.reason} Nothing was done: ask again later, or another server.",
                retry_after_s=_RETRY_AFTER_S,
            )

    @contextmanager
    def accepted(self) -> Iterator[None]:
        """Count a request for the length of the block; the end waits for it."""
        self.num_accepted += 1
        try:
            yield
        finally:
            self.num_accepted -= 1

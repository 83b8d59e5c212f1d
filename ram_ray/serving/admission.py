"""Admission: how much accepted work one ingress process holds, bounded in images and bytes."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.config import LimitConfig
from ram_ray.serving.problems import Problem

_RETRY_AFTER_S = 1.0
_NUM_RECENT = 8
"""Answers of which even the quickest must have been slow, so that no single hiccup refuses work."""


class Admission:
    """Counts what is pending and refuses what would not be answered in time."""

    def __init__(self, limits: LimitConfig) -> None:
        self._limits = limits
        self.pending_images = 0
        self.pending_bytes = 0
        self._recent_s: deque[float] = deque(maxlen=_NUM_RECENT)
        """How long the last answers took, since there was last nothing to do."""

    def check(self) -> None:
        """Refuse before the body is read where not even one image would be accepted.

        Raises:
            Problem: overloaded.
        """
        self._check_images(1)

    @contextmanager
    def images(self, count: int) -> Iterator[None]:
        """Hold room for `count` images; answered within the block.

        Raises:
            Problem: overloaded; nothing was taken.
        """
        self._check_images(count)
        self.pending_images += count
        accepted = monotonic()
        try:
            yield
            self._recent_s.append(monotonic() - accepted)
        finally:
            self.pending_images -= count
            if self.pending_images == 0:
                self._recent_s.clear()

    def take_bytes(self, count: int) -> None:
        """Hold room for body bytes until `give_bytes`.

        Raises:
            Problem: overloaded; nothing was taken.
        """
        if self.pending_bytes + count > self._limits.max_pending_bytes:
            raise _overloaded("too many bytes are in flight", _RETRY_AFTER_S)
        self.pending_bytes += count

    def give_bytes(self, count: int) -> None:
        """Give back what `take_bytes` took."""
        self.pending_bytes -= count

    def _check_images(self, count: int) -> None:
        if self.pending_images + count > self._limits.max_pending_images:
            raise _overloaded(f"{self.pending_images} images are waiting", _RETRY_AFTER_S)
        # A longer queue answers no more requests, only later, until their clients have left.
        allowed = self._limits.max_wait_s
        quickest = min(self._recent_s) if len(self._recent_s) == _NUM_RECENT else 0.0
        if quickest > allowed:
            raise _overloaded(f"an answer takes {quickest:.0f} s", quickest - allowed)


def _overloaded(reason: str, wait_s: float) -> Problem:
    return Problem(
        RequestErrorCode.OVERLOADED,
        f"The server is busy ({reason}); nothing was done, try again later.",
        retry_after_s=max(_RETRY_AFTER_S, min(wait_s, 30.0)),
    )

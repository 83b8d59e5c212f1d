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
_NUM_PACED = 64
"""Last answers whose pace says how long what is pending will take."""
_QUEUE = 32
"""Pending images from which the pace is the server's; with fewer it is that of their coming."""


class Admission:
    """Counts what is pending and refuses what would not be answered in time."""

    def __init__(self, limits: LimitConfig) -> None:
        self._limits = limits
        self.pending_images = 0
        self.pending_bytes = 0
        self._recent_s: deque[float] = deque(maxlen=_NUM_RECENT)
        """How long the last answers took, since there was last nothing to do."""
        self._paced: deque[tuple[float, int]] = deque(maxlen=_NUM_PACED)
        """When the last answers went out, and how many images each was of; likewise."""

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
            now = monotonic()
            self._recent_s.append(now - accepted)
            self._paced.append((now, count))
        finally:
            self.pending_images -= count
            if self.pending_images == 0:
                self._recent_s.clear()
                self._paced.clear()

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
        wait = max(self._quickest_recent_s(), self._expected_wait_s())
        if wait > allowed:
            raise _overloaded(f"an answer takes {wait:.0f} s", wait - allowed)

    def _quickest_recent_s(self) -> float:
        return min(self._recent_s) if len(self._recent_s) == _NUM_RECENT else 0.0

    def _expected_wait_s(self) -> float:
        """Return how long what is pending will take at the pace of the last answers."""
        if self.pending_images < _QUEUE or len(self._paced) < _NUM_RECENT:
            return 0.0
        num_images = sum(count for _, count in self._paced) - self._paced[0][1]
        return self.pending_images * (monotonic() - self._paced[0][0]) / max(1, num_images)


def _overloaded(reason: str, wait_s: float) -> Problem:
    return Problem(
        RequestErrorCode.OVERLOADED,
        f"The server is busy ({reason}); nothing was done, try again later.",
        retry_after_s=max(_RETRY_AFTER_S, min(wait_s, 30.0)),
    )

"""Admission: how much accepted work one ingress process holds, bounded in images and bytes."""

from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.config import LimitConfig
from ram_ray.serving.problems import Problem

_SMOOTHING = 0.1  # of the measured time per image: the last ten or so decide
_RETRY_AFTER_S = 1.0


class Admission:
    """Counts what is pending and refuses what would not be answered in time."""

    def __init__(self, limits: LimitConfig) -> None:
        self._limits = limits
        self.pending_images = 0
        self.pending_bytes = 0
        self._time_per_image_s = 0.0  # of the whole server, as seen from this ingress

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
        ahead, accepted = self.pending_images, monotonic()
        try:
            yield
            self._learn((monotonic() - accepted) / ahead)
        finally:
            self.pending_images -= count

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
        after = self.pending_images + count
        if after > self._limits.max_pending_images:
            wait = self._time_per_image_s * count
            raise _overloaded(f"{self.pending_images} images are waiting", wait)
        # Work that would miss its deadline only takes time from work that would not.
        wait = after * self._time_per_image_s
        allowed = self._limits.request_timeout_s / 2
        if self.pending_images and wait > allowed:
            raise _overloaded(f"an answer would take about {wait:.0f} s", wait - allowed)

    def _learn(self, time_per_image_s: float) -> None:
        known = self._time_per_image_s or time_per_image_s
        self._time_per_image_s = known + _SMOOTHING * (time_per_image_s - known)


def _overloaded(reason: str, wait_s: float) -> Problem:
    return Problem(
        RequestErrorCode.OVERLOADED,
        f"The server is busy ({reason}); nothing was done, try again later.",
        retry_after_s=max(_RETRY_AFTER_S, min(wait_s, 30.0)),
    )

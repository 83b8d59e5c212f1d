"""Admission: how much work one ingress process holds, of all clients and of each."""

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from time import monotonic

from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.config import LimitConfig
from ram_ray.serving.guard.rooms import RETRY_AFTER_S, BodyRooms, Room
from ram_ray.serving.problems import Problem

_UNPROVEN_BODIES = 32
_UNPROVEN_BYTES = 32 * 2**20
"""Of all callers whose signature is checked once their body has come; AWS itself takes 5 MB."""
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
        self._images = Room(limits.max_pending_images, "images")
        self._proven = BodyRooms(
            most_bodies=limits.max_pending_bodies,
            most_bytes=limits.max_pending_bytes,
            whole_for_one=True,
        )
        self._unproven = BodyRooms(
            most_bodies=_UNPROVEN_BODIES,
            most_bytes=min(_UNPROVEN_BYTES, limits.max_pending_bytes),
            whole_for_one=False,
        )
        self._recent_s: deque[float] = deque(maxlen=_NUM_RECENT)
        """How long the last answers took, since there was last nothing to do."""
        self._paced: deque[tuple[float, int]] = deque(maxlen=_NUM_PACED)
        """When the last answers went out, and how many images each was of; likewise."""

    @property
    def pending_images(self) -> int:
        """Accepted and unanswered images."""
        return self._images.total

    @property
    def pending_bytes(self) -> int:
        """Bytes of bodies and fetched images."""
        return self._proven.bytes.total + self._unproven.bytes.total

    def body_rooms(self, *, is_proven: bool) -> BodyRooms:
        """Return where a body is counted; who is not known to be let in gets a small room."""
        return self._proven if is_proven else self._unproven

    def check(self, client: str) -> None:
        """Refuse before the body is read where not even one image would be accepted.

        Raises:
            Problem: overloaded, rate_limited.
        """
        self._images.check(client, 1, is_first=self._has_none(client))
        self._check_wait()

    @contextmanager
    def images(self, count: int, client: str) -> Iterator[None]:
        """Hold room for `count` images of a client; answered within the block.

        Raises:
            Problem: overloaded, rate_limited; nothing was taken.
        """
        self._check_wait()
        self._images.take(client, count, is_first=self._has_none(client))
        accepted = monotonic()
        try:
            yield
            now = monotonic()
            self._recent_s.append(now - accepted)
            self._paced.append((now, count))
        finally:
            self._images.give(client, count)
            if self.pending_images == 0:
                self._recent_s.clear()
                self._paced.clear()

    def _has_none(self, client: str) -> bool:
        return not self._images.held_by(client)

    def _check_wait(self) -> None:
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
        retry_after_s=max(RETRY_AFTER_S, min(wait_s, 30.0)),
    )

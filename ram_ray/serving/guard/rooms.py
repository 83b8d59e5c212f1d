"""Rooms: bounded amounts of bytes, bodies and images, of which nobody takes what others need."""

from collections import Counter

from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.problems import Problem

RETRY_AFTER_S = 1.0


class Room:
    """What is held of one kind, by client.

    A client may hold as much as stays free beside it (dynamic thresholds: Choudhury and Hahne,
    IEEE/ACM Transactions on Networking 6, 1998): alone half of the room, of two a third each, of
    ten an eleventh. So there is always room for a newcomer.
    """

    def __init__(self, most: int, what: str) -> None:
        """Begin empty.

        Args:
            most: of all clients together.
            what: "bytes", for sentences.
        """
        self._most = most
        self._what = what
        self._held: Counter[str] = Counter()
        self.total = 0

    def held_by(self, client: str) -> int:
        """Return how much a client holds."""
        return self._held[client]

    def check(self, client: str, count: int, *, is_first: bool) -> None:
        """Refuse what `take` would refuse.

        Args:
            client: who is counted.
            count: more of it.
            is_first: the client holds nothing else: it may have what is free.

        Raises:
            Problem: overloaded, rate_limited.
        """
        free = self._most - self.total - count
        if free < 0:
            raise Problem(
                RequestErrorCode.OVERLOADED,
                f"The server is busy ({self.total} {self._what} are in its hands); nothing was "
                "done, try again later.",
                retry_after_s=RETRY_AFTER_S,
            )
        if not is_first and self._held[client] + count > free:
            raise Problem(
                RequestErrorCode.RATE_LIMITED,
                f"{self._held[client]} {self._what} of yours are in the server's hands; the rest "
                "of the room is for others. Nothing was done, try again later.",
                retry_after_s=RETRY_AFTER_S,
            )

    def take(self, client: str, count: int, *, is_first: bool) -> None:
        """Hold `count` more for a client, until `give`.

        Raises:
            Problem: overloaded, rate_limited; nothing was taken.
        """
        self.check(client, count, is_first=is_first)
        self.total += count
        self._held[client] += count

    def give(self, client: str, count: int) -> None:
        """Give back what `take` took."""
        self.total -= count
        self._held[client] -= count
        if not self._held[client]:
            del self._held[client]


class BodyRooms:
    """Room for bodies: how many are on their way, and the bytes that have come."""

    def __init__(self, *, most_bodies: int, most_bytes: int, whole_for_one: bool) -> None:
        """Begin empty.

        Args:
            most_bodies: that are being read at a time.
            most_bytes: of bodies that have come and are not answered.
            whole_for_one: a client's only body may have all that is free.
        """
        self.bodies = Room(most_bodies, "bodies")
        self.bytes = Room(most_bytes, "bytes")
        self._whole_for_one = whole_for_one

    def open(self, client: str) -> None:
        """Begin a body; `close` ends it, when all of it has come.

        Raises:
            Problem: overloaded, rate_limited.
        """
        self.bodies.take(client, 1, is_first=not self.bodies.held_by(client))

    def close(self, client: str) -> None:
        """End what `open` began."""
        self.bodies.give(client, 1)

    def check_bytes(self, client: str, count: int, own: int = 0) -> None:
        """Refuse what `take_bytes` would refuse by now."""
        self.bytes.check(client, count, is_first=self._is_first(client, own))

    def take_bytes(self, client: str, count: int, own: int = 0) -> None:
        """Hold bytes that have come, until they are given to `bytes.give`.

        Args:
            client: who is counted.
            count: more bytes.
            own: that the same body holds already.

        Raises:
            Problem: overloaded, rate_limited; nothing was taken.
        """
        self.bytes.take(client, count, is_first=self._is_first(client, own))

    def _is_first(self, client: str, own: int) -> bool:
        return self._whole_for_one and self.bytes.held_by(client) == own

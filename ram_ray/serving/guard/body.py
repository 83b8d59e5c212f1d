"""The body of a request on its way in: its size, its pace, and the room that it takes."""

import asyncio
import time

from starlette.datastructures import Headers
from starlette.types import Message, Receive

from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.config import LimitConfig
from ram_ray.serving.guard.admission import Admission
from ram_ray.serving.problems import Problem

_GRACE_S = 5.0
"""Before the pace of a body counts."""


def brings_body(headers: Headers) -> bool:
    """Tell whether a request has a body."""
    return headers.get("content-length", "0") != "0" or "transfer-encoding" in headers


class Body:
    """Counts bytes as they arrive: an announcement is no work yet, and takes no room."""

    def __init__(
        self,
        receive: Receive,
        admission: Admission,
        limits: LimitConfig,
        client: str,
        *,
        is_proven: bool,
    ) -> None:
        """Begin a body that nothing has come of.

        Args:
            receive: of the request.
            admission: holds the rooms.
            limits: of bodies.
            client: who it is counted under.
            is_proven: the client is who it says; others share a small room.
        """
        self._receive = receive
        self._admission = admission
        self._limits = limits
        self._client = client
        self._rooms = admission.body_rooms(is_proven=is_proven)
        self._started = time.monotonic()
        self._read = 0  # bytes, all of them held
        self._is_open = False
        self.is_complete = False
        """Whether all of it has come, or nobody waits for it any more."""

    def announce(self, headers: Headers) -> None:
        """Refuse by the headers what would not be taken; else begin.

        Raises:
            Problem: body_too_large, overloaded, rate_limited, invalid_request.
        """
        length = headers.get("content-length")
        if length is not None:
            if not (length.isascii() and length.isdecimal()):
                raise Problem(RequestErrorCode.INVALID_REQUEST, "Content-Length is not a number.")
            self._check(int(length))
            self._rooms.check_bytes(self._client, int(length))
        if brings_body(headers):
            self._rooms.open(self._client)
            self._is_open = True

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            Problem: body_too_large, overloaded, rate_limited, request_timeout.
        """
        if self.is_complete:
            return await self._receive()  # a wait for the client to leave
        try:
            async with asyncio.timeout(max(0.0, self._deadline() - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise Problem(
                RequestErrorCode.REQUEST_TIMEOUT,
                f"The body did not arrive within {self._limits.body_timeout_s:g} s, or slower than "
                f"{self._limits.min_body_bytes_per_s} bytes per second.",
            ) from None
        if message["type"] == "http.request":
            new = len(message.get("body", b""))
            self._check(self._read + new)
            self._rooms.take_bytes(self._client, new, own=self._read)
            self._read += new
            if not message.get("more_body", False):
                self._complete()
        return message

    def prove(self, client: str) -> None:
        """Count the body, which has come, under the client that it turned out to be of.

        Raises:
            Problem: overloaded, rate_limited.
        """
        rooms = self._admission.body_rooms(is_proven=True)
        rooms.take_bytes(client, self._read)
        self._rooms.bytes.give(self._client, self._read)
        self._rooms, self._client = rooms, client

    def release(self) -> None:
        """Give all room back."""
        self._complete()
        self._rooms.bytes.give(self._client, self._read)
        self._read = 0

    def _deadline(self) -> float:
        """Return when the next bytes must have come: each that came has bought time."""
        paced = _GRACE_S + self._read / self._limits.min_body_bytes_per_s
        return self._started + min(self._limits.body_timeout_s, paced)

    def _check(self, num_bytes: int) -> None:
        if num_bytes > self._limits.max_body_bytes:
            raise Problem(
                RequestErrorCode.BODY_TOO_LARGE,
                f"The body is larger than {self._limits.max_body_bytes} bytes.",
            )

    def _complete(self) -> None:
        self.is_complete = True
        if self._is_open:
            self._rooms.close(self._client)
            self._is_open = False

"""First and last thing a request meets: its id, who sent it, and the limits of its body."""

import asyncio
import logging
import re
import time
import uuid
from collections.abc import Collection

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.config import LimitConfig
from ram_ray.serving.guard.access import Access
from ram_ray.serving.guard.admission import Admission
from ram_ray.serving.guard.draining import Draining
from ram_ray.serving.metrics import Metrics
from ram_ray.serving.problems import Problem, problem_response

_log = logging.getLogger(__name__)
_REQUEST_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


class Gate:
    """ASGI middleware; refuses before the body is read where the headers already say why."""

    def __init__(
        self,
        app: ASGIApp,
        *,
        access: Access,
        admission: Admission,
        limits: LimitConfig,
        draining: Draining,
        metrics: Metrics,
        tagging: Collection[tuple[str, str]],
    ) -> None:
        """Remember the parts; `tagging`: methods and paths that bring images."""
        self._app = app
        self._access = access
        self._admission = admission
        self._limits = limits
        self._draining = draining
        self._metrics = metrics
        self._tagging = frozenset(tagging)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; every way out is an answer with a request id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        state = scope.setdefault("state", {})
        state["request_id"] = _request_id(Headers(scope=scope))
        answer = _Answer(send, state["request_id"])
        body = _Body(receive, self._admission, self._limits)
        try:
            state["client"] = self._access.client_of(scope)
            if (scope["method"], scope["path"]) in self._tagging:
                self._admission.check()  # before anything costs time: under overload most end here
            body.announce(Headers(scope=scope).get("content-length"))
            if scope["method"] != "GET":
                self._draining.check()
            with self._draining.accepted():
                await self._app(scope, body.receive, answer.send)
        except Problem as problem:
            await answer.end(scope, problem)
        except Exception:  # noqa: BLE001  whatever it is, the client gets an answer
            _log.exception("Request %s failed.", state["request_id"])
            problem = Problem(RequestErrorCode.INTERNAL, "A bug in the server; it was logged.")
            await answer.end(scope, problem)
        finally:
            body.release()
            route = getattr(scope.get("route"), "path", "none")
            self._metrics.requests.labels(route, str(answer.status)).inc()
            self._metrics.request_seconds.labels(route).observe(time.monotonic() - started)


class _Answer:
    """The outgoing side: adds the request id, remembers the status."""

    def __init__(self, send: Send, request_id: str) -> None:
        self._send = send
        self._request_id = request_id
        self.status = 499  # the client left before an answer began

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            headers["X-Request-ID"] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
        await self._send(message)

    async def end(self, scope: Scope, problem: Problem) -> None:
        """Answer with an error, unless an answer is on its way already."""
        if self.status == 499:
            await problem_response(problem, Request(scope))(scope, _no_body, self.send)


class _Body:
    """The incoming side: counts bytes as they arrive, against the request's and all limits."""

    def __init__(self, receive: Receive, admission: Admission, limits: LimitConfig) -> None:
        self._receive = receive
        self._admission = admission
        self._limits = limits
        self._deadline = time.monotonic() + limits.body_timeout_s
        self._held = 0  # bytes of room taken
        self._read = 0
        self._complete = False

    def announce(self, content_length: str | None) -> None:
        """Take room for the whole body at once where its length is known.

        Raises:
            Problem: body_too_large, overloaded, invalid_request.
        """
        if content_length is None:
            return
        if not (content_length.isascii() and content_length.isdecimal()):
            raise Problem(RequestErrorCode.INVALID_REQUEST, "Content-Length is not a number.")
        self._check(int(content_length))
        self._hold(int(content_length))

    async def receive(self) -> Message:
        """Return the next message.

        Raises:
            Problem: body_too_large, overloaded, request_timeout.
        """
        if self._complete:
            return await self._receive()  # a wait for the client to leave
        try:
            async with asyncio.timeout(max(0.0, self._deadline - time.monotonic())):
                message = await self._receive()
        except TimeoutError:
            raise Problem(
                RequestErrorCode.REQUEST_TIMEOUT,
                f"The body did not arrive within {self._limits.body_timeout_s:g} s.",
            ) from None
        if message["type"] == "http.request":
            self._read += len(message.get("body", b""))
            self._complete = not message.get("more_body", False)
            self._check(self._read)
            self._hold(self._read - self._held)
        return message

    def release(self) -> None:
        """Give the room back."""
        self._admission.give_bytes(self._held)
        self._held = 0

    def _check(self, num_bytes: int) -> None:
        if num_bytes > self._limits.max_body_bytes:
            raise Problem(
                RequestErrorCode.BODY_TOO_LARGE,
                f"The body is larger than {self._limits.max_body_bytes} bytes.",
            )

    def _hold(self, num_bytes: int) -> None:
        if num_bytes > 0:
            self._admission.take_bytes(num_bytes)
            self._held += num_bytes


async def _no_body() -> Message:
    return {"type": "http.disconnect"}


def _request_id(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex

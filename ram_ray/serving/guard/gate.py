"""First and last thing a request meets: its id, who sent it, and whether it may come in."""

import logging
import time
from collections.abc import Collection
from typing import Any

from fastapi import Request
from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.config import LimitConfig
from ram_ray.serving.guard.access import Access
from ram_ray.serving.guard.admission import Admission
from ram_ray.serving.guard.body import Body, brings_body
from ram_ray.serving.guard.draining import Draining
from ram_ray.serving.guard.request_ids import request_id_of
from ram_ray.serving.log import note, request_facts
from ram_ray.serving.metrics import Metrics
from ram_ray.serving.problems import Problem, problem_response

_log = logging.getLogger(__name__)


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
        sends_request_id: bool,
    ) -> None:
        """Remember the parts.

        Args:
            tagging: methods and paths that bring images.
            sends_request_id: False where Serve does.
        """
        self._app = app
        self._access = access
        self._admission = admission
        self._limits = limits
        self._draining = draining
        self._metrics = metrics
        self._tagging = frozenset(tagging)
        self._sends_request_id = sends_request_id

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; every way out is an answer with a request id."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = time.monotonic()
        state = scope.setdefault("state", {})
        state["request_id"] = request_id_of(Headers(scope=scope))
        facts: dict[str, Any] = {"images": 0, "model": None}
        request_facts.set(facts)
        request_headers = Headers(scope=scope)
        answer = _Answer(
            send,
            state["request_id"] if self._sends_request_id else None,
            brings_body=brings_body(request_headers),
        )
        body: Body | None = None
        try:
            caller = self._access.caller_of(scope)
            state["client"] = caller.name
            body = state["body"] = answer.body = Body(
                receive,
                self._admission,
                self._limits,
                caller.name,
                is_proven=caller.is_proven,
            )
            if scope["method"] != "GET":
                self._draining.check()
                if (scope["method"], scope["path"]) in self._tagging:
                    # before anything costs time: under overload most end here
                    self._admission.check(caller.name)
                body.announce(request_headers)
            with self._draining.accepted():
                await self._app(scope, body.receive, answer.send)
        except Problem as problem:
            await answer.end(scope, problem)
        except Exception:  # noqa: BLE001  whatever it is, the client gets an answer
            _log.exception("Request %s failed.", state["request_id"])
            problem = Problem(RequestErrorCode.INTERNAL, "A bug in the server; it was logged.")
            await answer.end(scope, problem)
        finally:
            if body is not None:
                body.release()
            self._note(scope, facts, answer.status, time.monotonic() - started)

    def _note(self, scope: Scope, facts: dict[str, Any], status: int, seconds: float) -> None:
        is_known = (scope["method"], scope["path"]) in self._tagging
        route = getattr(scope.get("route"), "path", scope["path"] if is_known else "none")
        self._metrics.requests.labels(route, str(status)).inc()
        self._metrics.request_seconds.labels(route).observe(seconds)
        state = scope["state"]
        note(
            "request",
            level=_level(route, status),
            id=state["request_id"],
            client=state.get("client"),
            method=scope["method"],
            route=route,
            **facts,
            status=status,
            refused=state.get("refused"),
            ms=round(seconds * 1000, 1),
        )


_QUIET = ("/healthz", "/readyz", "/metrics", "/static/{name:path}", "/static/examples/{name:path}")


def _level(route: str, status: int) -> int:
    if status == 500:
        return logging.ERROR
    if status in (429, 503):
        return logging.DEBUG if route == "/readyz" else logging.WARNING
    return logging.DEBUG if route in _QUIET else logging.INFO


class _Answer:
    """The outgoing side: adds the request id, remembers the status."""

    def __init__(self, send: Send, request_id: str | None, *, brings_body: bool) -> None:
        self._send = send
        self._request_id = request_id
        self._brings_body = brings_body
        self.body: Body | None = None
        self.status = 499  # the client left before an answer began

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            headers = MutableHeaders(scope=message)
            if self._request_id is not None:
                headers["X-Request-ID"] = self._request_id
            headers["X-Content-Type-Options"] = "nosniff"
            if self._brings_body and not (self.body and self.body.is_complete):
                # else a proxy keeps the place of this request until the client has sent the rest
                headers["Connection"] = "close"
        await self._send(message)

    async def end(self, scope: Scope, problem: Problem) -> None:
        """Answer with an error, unless an answer is on its way already."""
        if self.status == 499:
            await problem_response(problem, Request(scope))(scope, _no_body, self.send)


async def _no_body() -> Message:
    return {"type": "http.disconnect"}

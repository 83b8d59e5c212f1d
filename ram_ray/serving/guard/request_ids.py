"""Request ids: Serve's, or ours where there is no Serve; never what a caller made up freely.

Serve's own proxy and its ingress processes give every answer an `X-Request-ID`, the caller's as it
came. `middlewares` stands before them (RAY_SERVE_HTTP_PROXY_CALLBACK_IMPORT_PATH).
"""

import re
import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.middleware import Middleware
from starlette.types import ASGIApp, Receive, Scope, Send

_PLAIN = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def request_id_of(headers: Headers) -> str:
    """Return the id that came with a request, or a new one where none fit to be repeated did."""
    given = headers.get("x-request-id", "")
    return given if _PLAIN.fullmatch(given) else uuid.uuid4().hex


class PlainRequestId:
    """ASGI middleware; drops an `X-Request-ID` that is no plain word, so that Serve makes one."""

    def __init__(self, app: ASGIApp) -> None:
        """Remember the app inside."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request or connection."""
        if scope["type"] == "http":
            headers = MutableHeaders(scope=scope)
            given = headers.getlist("x-request-id")
            if given and not (len(given) == 1 and _PLAIN.fullmatch(given[0])):
                del headers["x-request-id"]
        await self._app(scope, receive, send)


def middlewares() -> list[Middleware]:
    """Return what Serve puts around its HTTP servers."""
    return [Middleware(PlainRequestId)]

"""What clients write differently and mean the same: HEAD for GET, a doubled first slash."""

from starlette.types import ASGIApp, Message, Receive, Scope, Send


class Leniency:
    """ASGI middleware, the outermost: all others see GET and one leading slash."""

    def __init__(self, app: ASGIApp) -> None:
        """Remember the app inside."""
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; HEAD gets the headers of GET's answer and no body."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        async def send_head(message: Message) -> None:
            if message["type"] == "http.response.body":
                message = {**message, "body": b""}
            await send(message)

        is_head = scope["method"] == "HEAD"
        # a copy: the HTTP server must go on knowing that this is HEAD
        inner = {
            **scope,
            "method": "GET" if is_head else scope["method"],
            # "http://host/" as an endpoint and "/path" after it
            "path": "/" + scope["path"].lstrip("/"),
        }
        await self._app(inner, receive, send_head if is_head else send)

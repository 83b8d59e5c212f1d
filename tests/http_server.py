"""A small HTTP server with the habits of a download server, good and bad."""

import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class FileServer:
    """Files by path, and how they are served."""

    files: dict[str, bytes]
    url: str = ""
    ranges: bool = True
    etag: str | None = '"v1"'
    modified: str | None = None
    """Last-Modified; a server without an ETag may have it."""
    break_after: list[int] = field(default_factory=list)
    """Bytes of the body after which an answer's connection is cut, answer by answer."""
    statuses: list[int] = field(default_factory=list)
    """Statuses of the next answers, before the server behaves."""
    linked_etag: str | None = None
    """With it, answers come through a redirect, as on a Hugging Face hub."""
    requests: list[tuple[str, str | None]] = field(default_factory=list)
    """Path and Range header of every request."""


@contextmanager
def serve(files: dict[str, bytes]) -> Iterator[FileServer]:
    """Yield a server of `files` on a free loopback port."""
    state = FileServer(files)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            _answer(self, state)

        def log_message(self, format: str, *args: object) -> None:
            pass

    with listening(Handler) as state.url:
        yield state


@contextmanager
def listening(handler: type[BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve by a handler on a free loopback port; yield the address."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def _answer(handler: BaseHTTPRequestHandler, state: FileServer) -> None:
    path = handler.path.removeprefix("/cdn")
    if state.linked_etag and path == handler.path:
        handler.send_response(302)
        handler.send_header("Location", "/cdn" + path)
        handler.send_header("X-Linked-ETag", f'"{state.linked_etag}"')
        handler.send_header("Content-Length", "0")
        handler.end_headers()
        return
    wanted = handler.headers.get("Range")
    state.requests.append((path, wanted))
    if state.statuses:
        return _plain(handler, state.statuses.pop(0))
    if path not in state.files:
        return _plain(handler, 404)
    body, start = state.files[path], 0
    total = len(body)
    version = state.etag or state.modified
    changed = version is not None and handler.headers.get("If-Range", version) != version
    if wanted and state.ranges and not changed:
        start = int(re.fullmatch(r"bytes=(\d+)-", wanted).group(1))  # pyright: ignore[reportOptionalMemberAccess]
        if start >= total:
            return _plain(handler, 416, {"Content-Range": f"bytes */{total}"})
    body = body[start:]
    handler.send_response(206 if start else 200)
    if start:
        handler.send_header("Content-Range", f"bytes {start}-{total - 1}/{total}")
    if state.etag:
        handler.send_header("ETag", state.etag)
    if state.modified:
        handler.send_header("Last-Modified", state.modified)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    cut = state.break_after.pop(0) if state.break_after else None
    handler.wfile.write(body[:cut])
    if cut is not None and cut < len(body):
        handler.close_connection = True
    return None


def _plain(
    handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str] | None = None
) -> None:
    handler.send_response(status)
    for name, value in (headers or {}).items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", "0")
    handler.end_headers()

"""A web server of files, with the manners of real ones: ranges, redirects, Retry-After."""

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from urllib.parse import parse_qs, unquote, urlsplit

from tests.http_server import listening


@dataclass
class Site:
    """Files by path, answers before them, and what was asked."""

    files: dict[str, bytes]
    url: str = ""
    first: dict[str, list[tuple[int, dict[str, str]]]] = field(default_factory=dict)
    """By path: statuses and headers of the answers before the file."""
    pause_s: float = 0.0
    """Of every answer."""
    most_at_once: int = 0
    asked: list[tuple[str, float, dict[str, str]]] = field(default_factory=list)
    """Path, when, headers."""


@contextmanager
def site(files: dict[str, bytes]) -> Iterator[Site]:
    """Yield a server on a free loopback port."""
    state = Site(files)
    lock = threading.Lock()
    at_once = 0

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            nonlocal at_once
            with lock:
                at_once += 1
                state.most_at_once = max(state.most_at_once, at_once)
                state.asked.append((self.path, time.monotonic(), dict(self.headers)))
            time.sleep(state.pause_s)
            with lock:
                at_once -= 1
            _answer(self, state)

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, format: str, *args: object) -> None:
            pass

    with listening(Handler) as state.url:
        yield state


def _answer(handler: BaseHTTPRequestHandler, state: Site) -> None:
    length = int(handler.headers.get("Content-Length", 0))
    form = parse_qs(handler.rfile.read(length).decode())
    path = unquote(urlsplit(handler.path).path)
    if state.first.get(path):
        return _send(handler, *state.first[path].pop(0), b"")
    if path.startswith("/api/datasets/"):
        return _send(handler, *_hub(state, path, form))
    match = re.fullmatch(r"/datasets/org/name/resolve/sha1/(.+)", path)
    body = state.files.get(match[1] if match else path.removeprefix("/"))
    if body is None:
        return _send(handler, 404, {}, b"")
    wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", handler.headers.get("Range", ""))
    etag = {"ETag": f'"{hash(body)}"'}
    if wanted is None:
        return _send(handler, 200, etag, body)
    start, stop = int(wanted[1]), min(int(wanted[2]) + 1, len(body))
    there = {"Content-Range": f"bytes {start}-{stop - 1}/{len(body)}"}
    return _send(handler, 206, etag | there, body[start:stop])


def _hub(state: Site, path: str, form: dict[str, list[str]]) -> tuple[int, dict[str, str], bytes]:
    """Answer as a Hugging Face hub about datasets/org/name, two files a page."""
    rest = path.removeprefix("/api/datasets/org/name/")
    if rest in ("revision/main", "revision/refs/convert/parquet"):
        return 200, {}, b'{"sha": "sha1"}'
    known = [
        {"type": "file", "path": name, "size": len(body), "oid": str(hash(body))}
        for name, body in sorted(state.files.items())
    ]
    if rest == "paths-info/sha1":
        (asked,) = form["paths"]
        folder = [{"type": "directory", "path": asked}]
        below = any(one["path"].startswith(f"{asked}/") for one in known)
        found = [one for one in known if one["path"] == asked] or (folder if below else [])
        return 200, {}, json.dumps(found).encode()
    match = re.fullmatch(r"tree/sha1(?:/(.+?))?(?:~(\d+))?", rest)
    if match is None:
        return 404, {}, b""
    found = [one for one in known if match[1] is None or one["path"].startswith(f"{match[1]}/")]
    start = int(match[2] or 0)
    headers = {}
    if len(found) > start + 2:
        below = f"/{match[1]}" if match[1] else ""
        there = f"{state.url}/api/datasets/org/name/tree/sha1{below}~{start + 2}"
        headers["Link"] = f'<{there}>; rel="next"'
    return 200, headers, json.dumps(found[start : start + 2]).encode()


def _send(
    handler: BaseHTTPRequestHandler, status: int, headers: dict[str, str], body: bytes
) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)

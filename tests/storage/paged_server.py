"""A server that speaks as much of S3 as listing and reading need, for any key and many keys.

    python -m tests.storage.paged_server NAMES COUNT PAUSE_S

serves COUNT made-up keys, PAUSE_S before each page, prints its address, ends when stdin closes.
"""

import http.server
import subprocess
import sys
import threading
import time
import uuid
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from hashlib import md5
from pathlib import Path
from urllib.parse import parse_qs, quote_plus, unquote, urlsplit

from ram_ray.config import StoreConfig

PAGE_KEYS = 1_000
NAMES: Mapping[str, Callable[[int], str]] = {
    "flat": lambda number: f"photos/IMG_{number:08d}.jpg",
    "folders": lambda number: f"{number % 37:02d}/2026/{number // 37 % 12:02d}/{number:07d}.png",
    "hashes": lambda number: f"{uuid.UUID(int=number * 0x9E3779B97F4A7C15 << 40 & 2**128 - 1)}.jpg",
}


class PagedServer(http.server.ThreadingHTTPServer):
    """Serves the objects of one bucket, whose name does not matter."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, objects: Mapping[str, bytes], pause_s: float) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.objects = objects
        self.pause_s = pause_s
        self.pages = 0
        self.keys = sorted(objects, key=str.encode)
        self.entries = [
            f"<Contents><Key>{quote_plus(key, safe='/')}</Key><ETag>{etag(objects[key])}</ETag>"
            f"<Size>{len(objects[key])}</Size></Contents>".encode()
            for key in self.keys
        ]

    @property
    def config(self) -> StoreConfig:
        """Return how to reach it."""
        return StoreConfig(endpoint_url=f"http://127.0.0.1:{self.server_port}", anonymous=True)


def etag(data: bytes) -> str:
    """Return the etag that S3 gives to these bytes."""
    return f'"{md5(data, usedforsecurity=False).hexdigest()}"'


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: PagedServer  # pyright: ignore[reportIncompatibleVariableOverride]

    def do_GET(self) -> None:
        asked = urlsplit(self.path)
        query = {name: values[0] for name, values in parse_qs(asked.query).items()}
        if "list-type" in query:
            self._page(query)
            return
        data = self.server.objects.get(unquote(asked.path.split("/", 2)[2]))
        if data is None:
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")
            return
        wanted = self.headers.get("If-Match")
        if wanted and wanted != etag(data):
            self._send(412, b"<Error><Code>PreconditionFailed</Code></Error>")
        elif span := self.headers.get("Range"):
            first, _, last = span.removeprefix("bytes=").partition("-")
            part = data[int(first) : int(last) + 1]
            self._send(206, part, data, f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
        else:
            self._send(200, data)

    do_HEAD = do_GET  # noqa: N815

    def _page(self, query: dict[str, str]) -> None:
        time.sleep(self.server.pause_s)
        self.server.pages += 1
        keys, prefix = self.server.keys, query.get("prefix", "")
        start = bisect_right(keys, max(query.get("start-after", ""), prefix))
        if prefix in self.server.objects and query.get("start-after", "") < prefix:
            start -= 1
        stop = start
        most = start + int(query.get("max-keys", PAGE_KEYS))
        while stop < min(most, len(keys)) and keys[stop].startswith(prefix):
            stop += 1
        more = stop < len(keys) and keys[stop].startswith(prefix)
        told = f"<IsTruncated>{'true' if more else 'false'}</IsTruncated>".encode()
        head = b"<ListBucketResult><EncodingType>url</EncodingType>"
        entries = b"".join(self.server.entries[start:stop])
        self._send(200, head + told + entries + b"</ListBucketResult>")

    def _send(
        self, status: int, body: bytes, whole: bytes | None = None, span: str | None = None
    ) -> None:
        self.send_response_only(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("ETag", etag(body if whole is None else whole))
        if span:
            self.send_header("Content-Range", span)
        self.send_header("Last-Modified", "Sun, 29 Nov 2026 00:00:00 GMT")
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return None


@contextmanager
def paged_server(objects: Mapping[str, bytes], pause_s: float = 0) -> Iterator[PagedServer]:
    """Serve objects from a thread of this process."""
    server = PagedServer(objects, pause_s)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def paged_process(names: str, count: int, pause_s: float) -> Iterator[StoreConfig]:
    """Serve made-up keys from a process of its own."""
    command = [sys.executable, "-m", "tests.storage.paged_server", names, str(count), str(pause_s)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,  # closed when this process ends, however it ends
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield StoreConfig(endpoint_url=process.stdout.readline().strip(), anonymous=True)
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def main() -> None:
    """Serve until stdin closes."""
    names, count, pause_s = sys.argv[1:]
    made_up = {NAMES[names](number): b"" for number in range(int(count))}
    server = PagedServer(made_up, float(pause_s))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    print(server.config.endpoint_url, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    main()

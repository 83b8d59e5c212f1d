"""An S3 server that misbehaves: a proxy before a real one, which spoils some of its answers.

    python -m tests.faults.store_proxy http://127.0.0.1:9000 --rate 0.015 --seed 3

prints its address and serves until stdin closes; GET /-/faults says how often it did what. In a
test of one fault, `spoilt_server` takes a function that names the fault of each request.
"""

import argparse
import http.client
import http.server
import json
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import urlopen


class Fault(StrEnum):
    """What can happen to a request."""

    SLOW_DOWN = "slow_down"  # 503, nothing is done
    FAIL = "fail"  # 500, nothing is done
    RESET = "reset"  # the connection breaks, nothing is done
    TRUNCATED = "truncated"  # the connection breaks in the middle of the body
    SHORT = "short"  # half a body, whose length says that it is whole
    SLOW_READ = "slow_read"  # the body comes in pieces, over SLOW_READ_S
    STALL = "stall"  # the body stops in its middle, for ever
    CONFLICT = "conflict"  # 409 ConditionalRequestConflict, nothing is done
    DONE_AND_SILENT = "done_and_silent"  # it is done, and never answered
    DONE_AND_RESET = "done_and_reset"  # it is done, then the connection breaks
    DONE_AND_412 = "done_and_412"  # it is done; an inner retry met its own object
    DONE_AND_500 = "done_and_500"


READ_FAULTS = (Fault.SLOW_DOWN, Fault.RESET, Fault.TRUNCATED, Fault.SHORT, Fault.SLOW_READ)
WRITE_FAULTS = (
    Fault.SLOW_DOWN, Fault.FAIL, Fault.RESET, Fault.DONE_AND_SILENT, Fault.DONE_AND_RESET,
    Fault.DONE_AND_500,
)  # fmt: skip
CREATE_FAULTS = (*WRITE_FAULTS, Fault.DONE_AND_412, Fault.CONFLICT)
"""Of a PUT with If-None-Match."""
SLOW_READ_S = 1.5
SILENCE_S = 2.0
"""Until the connection of an unanswered request breaks: clients of a test need not wait longer."""
STALL_S = 3_600.0

_ANSWERS = {
    Fault.SLOW_DOWN: (503, "SlowDown"),
    Fault.FAIL: (500, "InternalError"),
    Fault.CONFLICT: (409, "ConditionalRequestConflict"),
    Fault.DONE_AND_412: (412, "PreconditionFailed"),
    Fault.DONE_AND_500: (500, "InternalError"),
}


@dataclass(frozen=True)
class Request:
    """What a fault is chosen by."""

    method: str
    path: str
    """With its query."""
    create: bool
    """It carries If-None-Match."""

    @property
    def faults(self) -> tuple[Fault, ...]:
        """Return what can happen to it."""
        if self.method in ("GET", "HEAD"):
            return READ_FAULTS if self.method == "GET" else READ_FAULTS[:2]
        return CREATE_FAULTS if self.create else WRITE_FAULTS


Choose = Callable[[Request], Fault | None]


def at_random(rate: float, seed: int) -> Choose:
    """Return a choice of faults in which each that can happen has the same share of requests."""
    chance, lock = random.Random(seed), threading.Lock()

    def choose(request: Request) -> Fault | None:
        with lock:
            drawn = chance.random() / rate
        return request.faults[int(drawn)] if drawn < len(request.faults) else None

    return choose


def first(fault: Fault, wanted: Callable[[Request], bool], *, times: int = 1) -> Choose:
    """Return a choice that spoils the first `times` requests that are wanted."""
    left, lock = [times], threading.Lock()

    def choose(request: Request) -> Fault | None:
        with lock:
            if not wanted(request) or not left[0]:
                return None
            left[0] -= 1
            return fault

    return choose


class Proxy(http.server.ThreadingHTTPServer):
    """Listens on a free port of the loopback address."""

    daemon_threads = True
    request_queue_size = 128

    def __init__(self, target: str, choose: Choose) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.target = urlsplit(target).netloc
        self.choose = choose
        self.ignores_conditions = False
        """As some servers that speak S3 do: If-None-Match is not passed on."""
        self.page_keys: int | None = None
        """Keys per page of a listing, so that few objects make many pages."""
        self.happened: Counter[str] = Counter()
        self.requests: list[Request] = []

    @property
    def url(self) -> str:
        """Return its address."""
        return f"http://127.0.0.1:{self.server_port}"

    def handle_error(self, request: object, client_address: object) -> None:
        """Say nothing: clients that went away are what this is for."""


class _Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Proxy  # pyright: ignore[reportIncompatibleVariableOverride]

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/-/faults":
            self._send(200, [], json.dumps(self.server.happened).encode())
            return
        create = "If-None-Match" in self.headers
        request = Request(self.command, self.path, create)
        fault = self.server.choose(request)
        self.server.requests.append(request)
        self.server.happened[f"{self.command} {fault or 'well'}"] += 1
        if fault is not None and fault in (Fault.SLOW_DOWN, Fault.FAIL, Fault.CONFLICT):
            self._send_error(fault)
        elif fault == Fault.RESET:
            self._reset()
        else:
            self._answer(fault, *self._forward(body))

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve  # noqa: N815

    def _forward(self, body: bytes) -> tuple[int, list[tuple[str, str]], bytes]:
        path = self.path
        if self.server.page_keys and "list-type=2" in path:
            path += f"&max-keys={self.server.page_keys}"
        upstream = http.client.HTTPConnection(self.server.target, timeout=60)
        try:
            upstream.putrequest(self.command, path, skip_host=True, skip_accept_encoding=True)
            dropped = ["expect", "connection"]
            dropped += ["if-none-match"] if self.server.ignores_conditions else []
            for name, value in self.headers.items():
                if name.lower() not in dropped:
                    upstream.putheader(name, value)
            upstream.endheaders(body)
            answer = upstream.getresponse()
            return answer.status, answer.getheaders(), answer.read()
        finally:
            upstream.close()

    def _answer(
        self, fault: Fault | None, status: int, headers: list[tuple[str, str]], body: bytes
    ) -> None:
        if fault == Fault.DONE_AND_SILENT:
            time.sleep(SILENCE_S)
            self._reset()
        elif fault == Fault.DONE_AND_RESET:
            self._reset()
        elif fault is not None and fault in (Fault.DONE_AND_412, Fault.DONE_AND_500):
            self._send_error(fault)
        elif fault == Fault.SHORT and status < 300:
            self._send(status, headers, body[: len(body) // 2])
        else:
            self._send(status, headers, body, fault if status < 300 else None)

    def _send_error(self, fault: Fault) -> None:
        status, code = _ANSWERS[fault]
        text = f"<?xml version='1.0'?><Error><Code>{code}</Code><Message>{fault}</Message></Error>"
        self._send(status, [("Content-Type", "application/xml")], text.encode())

    def _send(
        self,
        status: int,
        headers: list[tuple[str, str]],
        body: bytes,
        fault: Fault | None = None,
    ) -> None:
        self.send_response_only(status)
        for name, value in headers:
            # A HEAD's length is that of the object, which it does not send.
            own_length = self.command != "HEAD" and name.lower() == "content-length"
            if name.lower() not in ("connection", "transfer-encoding") and not own_length:
                self.send_header(name, value)
        if self.command != "HEAD" and status != 204:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "HEAD":
            return
        half = len(body) // 2
        if fault in (Fault.TRUNCATED, Fault.STALL, Fault.SLOW_READ):
            self.wfile.write(body[:half])
            self.wfile.flush()
            if fault == Fault.TRUNCATED:
                self._reset()
                return
            time.sleep(STALL_S if fault == Fault.STALL else SLOW_READ_S)
            body = body[half:]
        self.wfile.write(body)

    def _reset(self) -> None:
        self.close_connection = True
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.connection.close()

    def log_message(self, format: str, *args: object) -> None:
        return None


@contextmanager
def spoilt_server(target: str, choose: Choose) -> Iterator[Proxy]:
    """Run a proxy in a thread of this process, for a test of one fault."""
    proxy = Proxy(target, choose)
    thread = threading.Thread(target=proxy.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        thread.join()
        proxy.server_close()


@contextmanager
def stormy_server(target: str, rate: float, seed: int) -> Iterator[str]:
    """Run a proxy with faults at random in a process of its own; yield its address."""
    command = [sys.executable, "-m", "tests.faults.store_proxy", target]
    process = subprocess.Popen(
        [*command, "--rate", str(rate), "--seed", str(seed)],
        stdin=subprocess.PIPE,  # closed when this process ends, however it ends
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[2],
        text=True,
    )
    assert process.stdin
    assert process.stdout
    try:
        yield process.stdout.readline().strip()
    finally:
        process.stdin.close()
        process.wait(10)
        process.stdout.close()


def what_happened(url: str) -> dict[str, int]:
    """Return how many requests of a proxy ended how, by method and fault."""
    with urlopen(f"{url}/-/faults") as answer:
        return json.load(answer)


def serve() -> None:
    """Serve until stdin closes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("target")
    parser.add_argument("--rate", type=float, required=True)
    parser.add_argument("--seed", type=int, required=True)
    asked = parser.parse_args()
    proxy = Proxy(asked.target, at_random(asked.rate, asked.seed))
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    print(proxy.url, flush=True)
    sys.stdin.read()


if __name__ == "__main__":
    serve()

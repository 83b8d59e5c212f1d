"""The end of `ram-ray serve`: what was accepted is answered, on both proxies; nothing stays."""

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from ram_ray.serving.environment import FOLDER
from tests.conftest import photo_bytes
from tests.serving.test_deployment import free_port

pytestmark = [pytest.mark.timeout(300), pytest.mark.slow, pytest.mark.heavy]
DRAIN_S = 1.0
PROXIES = {"haproxy": {}, "serve's own": {"RAY_SERVE_ENABLE_HA_PROXY": "0"}}


@contextmanager
def server(tmp_path: Path, proxy: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run `ram-ray serve`; give the process, once it is ready, and the port."""
    port = free_port()
    command = [sys.executable, "-m", "ram_ray", "serve", "--port", str(port), "--device", "cpu"]
    command += ["--set", f"limits.drain_s={DRAIN_S}", "--set", "threads=1"]
    ours = {name: value for name, value in os.environ.items() if not name.startswith("RA")}
    log = tmp_path / "stderr"
    with log.open("w") as stderr:
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=ours | PROXIES[proxy],
            start_new_session=True,
        )
    try:
        assert process.stdout is not None
        lines = [process.stdout.readline(), process.stdout.readline()]
        assert "Serving on" in lines[1], (lines, log.read_text())
        yield process, port
    finally:
        process.kill()
        process.communicate()


def open_request(port: int, body: bytes) -> socket.socket:
    """Send all of a request but the end of its body: the server has accepted it then."""
    connection = socket.create_connection(("127.0.0.1", port), timeout=30)
    head = (
        "POST /v1/tag?score_floor=0.1 HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body[:-100])
    return connection


def status_of(url: str, data: bytes | None = None) -> tuple[int, str]:
    headers = {"Content-Type": "image/jpeg"}
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, headers)) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


@pytest.mark.parametrize(
    "proxy", ["haproxy", pytest.param("serve's own", marks=pytest.mark.faults)]
)
def test_what_was_accepted_is_answered_before_the_end(tmp_path: Path, proxy: str) -> None:
    body = photo_bytes(1)
    with server(tmp_path, proxy) as (process, port):
        url = f"http://127.0.0.1:{port}"
        assert status_of(f"{url}/readyz")[0] == 200
        family = psutil.Process(process.pid).children(recursive=True)
        heard = {
            (one.name(), connection.laddr.ip.removeprefix("::ffff:"))
            for one in family
            for connection in one.net_connections()
            if connection.status == "LISTEN"
        }
        open_to_others = {name for name, ip in heard if ip != "127.0.0.1"}
        # all of Ray but a port of Serve's replicas, which wants Ray's token
        assert all(name.startswith("ray::ServeReplica") for name in open_to_others)
        accepted = [open_request(port, body) for _ in range(7)]
        assert status_of(f"{url}/v1/tag", body)[0] == 200  # came after them
        process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        while status_of(f"{url}/readyz")[0] == 200:
            assert time.monotonic() - signalled < 5  # about 10 ms; measured in benchmarks/results
        status, refused = status_of(f"{url}/v1/tag", body)
        assert (status, json.loads(refused)["error"]["code"]) == (503, "not_ready")
        assert status_of(f"{url}/healthz")[0] == 200
        time.sleep(DRAIN_S)  # the period alone does not end it
        for connection in accepted:
            connection.sendall(body[-100:])
        for connection in accepted:
            assert connection.recv(65_536).startswith(b"HTTP/1.1 200")
            connection.close()
        assert process.wait(timeout=60) == 0
        _, alive = psutil.wait_procs(family, timeout=10)
    assert [process.cmdline() for process in alive if process.is_running()] == []
    said = (tmp_path / "stderr").read_text()
    assert not re.search(r"Traceback|Error|error", said), said


@pytest.mark.faults
def test_a_second_signal_ends_it_now_and_quietly(tmp_path: Path) -> None:
    body = photo_bytes(1)
    with server(tmp_path, "haproxy") as (process, port):
        waiting = open_request(port, body)  # never sent whole: draining alone would wait for it
        process.send_signal(signal.SIGINT)
        while '"begun"' not in (tmp_path / "stderr").read_text():
            assert process.poll() is None
        process.send_signal(signal.SIGINT)  # the ingress processes are being told
        assert process.wait(timeout=20) == 0
        waiting.close()
    said = (tmp_path / "stderr").read_text()
    assert not re.search(r"Traceback|Error|error", said), said


@pytest.mark.faults
@pytest.mark.parametrize("proxy", PROXIES)
def test_sigkill_leaves_nothing_behind(tmp_path: Path, proxy: str) -> None:
    with server(tmp_path, proxy) as (process, _):
        family = psutil.Process(process.pid).children(recursive=True)
        (folder,) = {one.environ().get(FOLDER) for one in family} - {None}
        assert Path(str(folder)).is_dir()
        process.kill()
        _, alive = psutil.wait_procs(family, timeout=150)  # Ray's own agents take a minute
    assert [process.cmdline() for process in alive if process.is_running()] == []
    assert not Path(str(folder)).exists()

"""The serving door under a signal and under hoarders: what is lost, how quickly it says so.

    python -m benchmarks.serving_door --scenes ending,hoarding --seconds 5 --out door.json

Prints JSON. Every scene runs `ram-ray serve` in a process of its own. Hoarders come from 127.0.0.2,
the others from 127.0.0.1. Rates and times are beside the same server's undisturbed ones: what else
the machine does meets both.
"""

import argparse
import asyncio
import contextlib
import json
import os
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.http_load import Load, Target, closed_loop, open_loop
from benchmarks.serving_scenes.bench import free_port, make_bench

DRAIN_S = 3.0
_CALLS = 20
_JPEG = "POST /v1/tag HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: image/jpeg\r\n"
_FORGED = (
    "POST / HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/x-amz-json-1.1\r\n"
    "X-Amz-Target: RekognitionService.DetectLabels\r\nAuthorization: AWS4-HMAC-SHA256 "
    "Credential=alice/20261129/us-east-1/rekognition/aws4_request, SignedHeaders=host, "
    f"Signature={'0' * 64}\r\n"
)
HOARDS = {
    "8 bodies of 64 MiB announced": (8, _JPEG, 64 * 2**20),
    "256 slow bodies": (256, _JPEG, 100_000),
    "forged signatures": (64, _FORGED, 1_000_000),
}


@contextlib.contextmanager
def served(keys: str = "") -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run the command; give the process, once it is ready, and the port."""
    port = free_port()
    command = [sys.executable, "-m", "ram_ray", "serve", "--port", str(port), "--device", "cpu"]
    command += ["--set", "threads=1", "--set", "log_level=error"]
    command += ["--set", f"limits.drain_s={DRAIN_S}"]
    environment = os.environ | ({"RAM_RAY_API_KEYS": keys} if keys else {})
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment)
    try:
        assert process.stdout is not None
        while "Serving on" not in (line := process.stdout.readline()):
            assert line, "the server did not start"
        yield process, port
    finally:
        process.terminate()
        process.communicate()


def ending_scene(seconds: float, restarts: int) -> dict[str, Any]:
    """SIGTERM at half of peak load, several times; then see what the client got."""
    bench = make_bench(None, seconds, 0)
    rows = []
    for _ in range(restarts):
        with served() as (process, port):
            target = bench.target(port, check=False)
            asyncio.run(closed_loop(target, clients=8, seconds=2))
            peak = asyncio.run(closed_loop(target, clients=16, seconds=seconds)).goodput()
            rows.append(asyncio.run(_signalled(process, port, target, peak / 2, seconds)))
    answered = sum(row["load"]["status_counts"].get("200", 0) for row in rows)
    return {
        "restarts": rows,
        "answered": answered,
        "lost": sum(row["load"]["failed"] for row in rows),
        "readiness_503_after_ms": statistics.median(row["readiness_503_ms"] for row in rows),
        "idle_call_ms": statistics.median(row["idle_call_ms"] for row in rows),
    }


async def _signalled(
    process: subprocess.Popen[str], port: int, target: Target, rate: float, seconds: float
) -> dict[str, Any]:
    """Send load while readiness allows it, signal in the middle, follow readiness to the end."""
    started, signalled, not_ready, ended = time.monotonic(), 0.0, 0.0, 0.0
    url = f"http://127.0.0.1:{port}/readyz"
    idle = [await asyncio.to_thread(_seconds_of, url) for _ in range(_CALLS)]

    async def follow() -> None:
        nonlocal signalled, not_ready, ended
        await asyncio.sleep(seconds)
        process.send_signal(signal.SIGTERM)
        signalled = time.monotonic()
        while await asyncio.to_thread(_status_of, url) == 200:
            pass
        not_ready = time.monotonic()
        await asyncio.to_thread(process.wait)
        ended = time.monotonic()

    following = asyncio.create_task(follow())
    # a client that honours readiness sends nothing more once it says no
    load = await open_loop(target, rate=rate, until=lambda _: not_ready > 0)
    await following
    return {
        "load": load.row(),
        "rate_per_s": round(rate, 1),
        "idle_call_ms": round(statistics.median(idle) * 1000, 1),
        "readiness_503_ms": round((not_ready - signalled) * 1000, 1),
        "ended_after_s": round(ended - signalled, 1),
        "seconds": round(ended - started, 1),
    }


def hoarding_scene(seconds: float) -> dict[str, Any]:
    """Hoarders of three kinds: the rate of another client, and how quickly health answers."""
    bench = make_bench(None, seconds, 0)
    rows: dict[str, Any] = {}
    for name, (count, head, length) in HOARDS.items():
        keys = "alice:alice-secret" if head is _FORGED else ""
        with served(keys) as (_, port):
            target = bench.target(port, check=False)
            headers = {"X-API-Key": "alice-secret"} if keys else {}
            _load(target, 2, headers)
            before, quiet = _load(target, seconds, headers), _health_ms(port)
            hoard = _hoard(port, count, head, length)
            try:
                time.sleep(0.5)
                during, hoarded = _load(target, seconds, headers), _health_ms(port)
            finally:
                for connection in hoard:
                    connection.close()
            again = _load(target, seconds, headers)
        undisturbed = (before.goodput() + again.goodput()) / 2
        rows[name] = {
            "undisturbed_per_s": round(undisturbed, 1),
            "during": during.row(),
            "kept": round(during.goodput() / undisturbed, 3),
            "health_ms": {"undisturbed": quiet, "during": hoarded},
        }
    return rows


def _load(target: Target, seconds: float, headers: dict[str, str]) -> Load:
    return asyncio.run(closed_loop(target, clients=4, seconds=seconds, headers=headers))


def _hoard(port: int, count: int, head: str, length: int) -> list[socket.socket]:
    connections = []
    for _ in range(count):
        one = socket.create_connection(("127.0.0.1", port), source_address=("127.0.0.2", 0))
        one.sendall(f"{head}Content-Length: {length}\r\n\r\nx".encode())
        connections.append(one)
    return connections


def _health_ms(port: int) -> float:
    url = f"http://127.0.0.1:{port}/healthz"
    return round(statistics.median(_seconds_of(url) for _ in range(_CALLS)) * 1000, 1)


def _seconds_of(url: str) -> float:
    started = time.monotonic()
    _status_of(url)
    return time.monotonic() - started


def _status_of(url: str) -> int:
    try:
        with urllib.request.urlopen(url, timeout=30) as answer:
            return answer.status
    except urllib.error.HTTPError as error:
        return error.code
    except OSError:
        return 0


def main() -> None:
    """Run the scenes and print their figures."""
    parser = argparse.ArgumentParser(description="The serving door; prints JSON.")
    parser.add_argument("--scenes", default="ending,hoarding")
    parser.add_argument("--seconds", type=float, default=5.0, help="of one measurement")
    parser.add_argument("--restarts", type=int, default=3)
    parser.add_argument("--out", help="also write the JSON to this file")
    options = parser.parse_args()
    result: dict[str, Any] = {"cpus": os.cpu_count(), "load_average_before": os.getloadavg()[0]}
    if "ending" in options.scenes:
        result["ending"] = ending_scene(options.seconds, options.restarts)
    if "hoarding" in options.scenes:
        result["hoarding"] = hoarding_scene(options.seconds)
    text = json.dumps(result, indent=1)
    if options.out:
        Path(options.out).write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

"""Load on an HTTP server, closed loops of clients or a fixed rate; every answer is counted."""

import asyncio
import json
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import aiohttp
import numpy as np

RETRY_STATUSES = (429, 503)
"""Refusals: the request was not accepted. Every other answer but 200 is a failure."""
TIMEOUT_S = 30.0
"""An answer later than this is a hang."""


@dataclass
class Load:
    """What came back."""

    seconds: list[float] = field(default_factory=list)
    """Latencies of the requests that were answered with a result."""
    finished_at: list[float] = field(default_factory=list)
    """When, by time.monotonic(), parallel to `seconds`."""
    refusals: Counter[str] = field(default_factory=Counter)
    """Codes of the refusals' JSON bodies; "proxy" for those that the HTTP proxy gave itself."""
    statuses: Counter[str] = field(default_factory=Counter)
    """HTTP statuses; "reset", "hang", and "wrong" for results that are not the expected ones."""
    started: float = field(default_factory=time.monotonic)
    ended: float = 0.0

    def failed(self) -> int:
        """Return how many requests neither succeeded nor were refused politely."""
        fine = {"200", *map(str, RETRY_STATUSES)}
        return sum(count for status, count in self.statuses.items() if status not in fine)

    def add(self, other: "Load") -> None:
        """Take another load's answers as well; the times of both stay as they are."""
        self.seconds += other.seconds
        self.finished_at += other.finished_at
        self.statuses += other.statuses
        self.refusals += other.refusals
        self.ended = max(self.ended, other.ended)

    def goodput(self) -> float:
        """Return results per second."""
        return len(self.seconds) / (self.ended - self.started)

    def row(self) -> dict[str, object]:
        """Return the figures that the results table shows."""
        latencies = np.array(self.seconds or [float("nan")]) * 1000
        p50, p95, p99 = np.percentile(latencies, [50, 95, 99])
        return {
            "requests": sum(self.statuses.values()),
            "failed": self.failed(),
            "p50_ms": round(float(p50), 1),
            "p95_ms": round(float(p95), 1),
            "p99_ms": round(float(p99), 1),
            "per_s": round(self.goodput(), 1),
            "status_counts": dict(sorted(self.statuses.items())),
            "refusals": dict(sorted(self.refusals.items())),
        }


@dataclass(frozen=True)
class Target:
    """Where requests go, with what, and how a right answer looks."""

    url: str
    bodies: Sequence[bytes]
    is_right: Callable[[int, bytes], bool] = lambda index, body: True

    async def ask(self, session: aiohttp.ClientSession, index: int, load: Load) -> None:
        """Send one request and note what came of it."""
        started = time.monotonic()
        index %= len(self.bodies)
        try:
            async with session.post(self.url, data=self.bodies[index]) as answer:
                body = await answer.read()
                status = str(answer.status)
        except TimeoutError:
            status = "hang"
        except aiohttp.ClientError:
            status = "reset"
        else:
            if status == "200" and not self.is_right(index, body):
                status = "wrong"
            if answer.status in RETRY_STATUSES:
                load.refusals[_error_code(body)] += 1
        load.statuses[status] += 1
        if status == "200":
            load.finished_at.append(time.monotonic())
            load.seconds.append(load.finished_at[-1] - started)


def _error_code(body: bytes) -> str:
    try:
        return json.loads(body)["error"]["code"]
    except (ValueError, LookupError, TypeError):
        return "proxy"


def _session(headers: Mapping[str, str] | None = None) -> aiohttp.ClientSession:
    return aiohttp.ClientSession(
        connector=aiohttp.TCPConnector(limit=0),
        timeout=aiohttp.ClientTimeout(total=TIMEOUT_S),
        headers={"Content-Type": "image/jpeg", **(headers or {})},
    )


async def closed_loop(
    target: Target, *, clients: int, seconds: float, headers: Mapping[str, str] | None = None
) -> Load:
    """Keep `clients` requests in flight; a refused client waits a little, as real ones do."""
    load = Load()
    end = load.started + seconds

    async def client(session: aiohttp.ClientSession, first: int) -> None:
        index = first
        while time.monotonic() < end:
            refused = sum(load.statuses[str(status)] for status in RETRY_STATUSES)
            await target.ask(session, index, load)
            index += 1
            if sum(load.statuses[str(status)] for status in RETRY_STATUSES) > refused:
                await asyncio.sleep(0.1)

    async with _session(headers) as session:
        await asyncio.gather(*(client(session, 7 * number) for number in range(clients)))
    load.ended = time.monotonic()
    return load


async def open_loop(target: Target, *, rate: float, until: Callable[[float], bool]) -> Load:
    """Send `rate` requests a second, whatever comes back, while `until(elapsed_s)` is false."""
    load = Load()
    tasks: set[asyncio.Task[None]] = set()
    async with _session() as session:
        sent = 0
        while not until(elapsed := time.monotonic() - load.started):
            while sent < elapsed * rate:
                task = asyncio.create_task(target.ask(session, sent, load))
                tasks.add(task)
                task.add_done_callback(tasks.discard)
                sent += 1
            await asyncio.sleep(min(0.01, 1 / rate))
        load.ended = time.monotonic()
        while tasks:
            await asyncio.wait(tasks)
    return load

"""Throughput and latency: bare FastAPI, Serve with batching, Serve without."""

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from benchmarks.cpu_time import CpuTime
from benchmarks.http_load import Load, closed_loop
from benchmarks.serving_scenes.bench import Bench, free_port, serving
from ram_ray.serving.server import running_server

CLIENTS: tuple[int, ...] = (1, 8, 64)
_ROUNDS = 3


def load_scene(bench: Bench) -> dict[str, Any]:
    """Measure throughput and latency: bare FastAPI, Serve with batching, Serve without.

    Bare and Serve take turns, several times: what else the machine does then meets both.
    """
    rows: dict[str, Any] = {}
    config = serving()
    with bare_server(config.batch_size) as port, running_server(config):
        rows |= _turns(bench, {"bare": port, "serve": config.port})
    config = serving(batch_size=1)
    with running_server(config):
        rows |= _turns(bench, {"serve, no batching": config.port}, rounds=1)
    bare, ours = rows["bare"], rows["serve"]
    rows["of bare"] = {
        "throughput": {n: round(ours[n]["per_s"] / bare[n]["per_s"], 3) for n in ours},
        # what the ratio would be if CPU time were all that limits both
        "by_cpu": {n: round(bare[n]["cpu_ms"] / ours[n]["cpu_ms"], 3) for n in ours},
        "p50_ms_above_at_1_client": round(ours["1"]["p50_ms"] - bare["1"]["p50_ms"], 1),
    }
    return rows


@contextlib.contextmanager
def bare_server(batch_size: int) -> Iterator[int]:
    """Run benchmarks/bare_server.py in a process of its own."""
    port = free_port()
    command = [sys.executable, "-m", "benchmarks.bare_server", str(port), str(batch_size)]
    process = subprocess.Popen(command, cwd=Path(__file__).parents[2])
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def _turns(bench: Bench, ports: dict[str, int], rounds: int = _ROUNDS) -> dict[str, Any]:
    """Load servers in turns; return their rows by name and number of clients."""
    loads = {name: {clients: Load(ended=0.0) for clients in CLIENTS} for name in ports}
    cpu = {name: {clients: CpuTime() for clients in CLIENTS} for name in ports}
    seconds = {name: dict.fromkeys(CLIENTS, 0.0) for name in ports}
    for port in ports.values():
        asyncio.run(closed_loop(bench.target(port), clients=4, seconds=2))  # all is warm then
    for _ in range(rounds):
        for clients in CLIENTS:
            for name, port in ports.items():
                with cpu[name][clients].of(port, ports.values()):
                    load = asyncio.run(
                        closed_loop(bench.target(port), clients=clients, seconds=bench.seconds)
                    )
                seconds[name][clients] += load.ended - load.started
                loads[name][clients].add(load)
    return {
        name: {
            str(clients): load.row()
            | {"per_s": round(len(load.seconds) / seconds[name][clients], 1)}
            | cpu[name][clients].row(sum(load.statuses.values()))
            for clients, load in by_clients.items()
        }
        for name, by_clients in loads.items()
    }

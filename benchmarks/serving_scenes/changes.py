"""Replicas that die, are replaced by newer ones, or come and go with the load."""

import asyncio
import dataclasses
import random
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from ray import serve

from benchmarks.http_load import Load, Target, closed_loop, open_loop
from benchmarks.serving_scenes.bench import Bench, serving
from benchmarks.serving_scenes.replicas import Sampler, replica_processes, running_replicas
from benchmarks.sleeping_model import SleepingServer
from ram_ray.serving.deployment import application
from ram_ray.serving.server import APP_NAME, running_server


def kill_scene(bench: Bench) -> dict[str, Any]:
    """SIGKILL a model replica whenever two are ready, at half of peak load."""
    config = serving(replicas={"min_replicas": 2, "max_replicas": 2})
    with running_server(config):
        target, peak = _measured_peak(bench, config.port)
        kills: list[float] = []
        started = time.monotonic()

        def is_over(elapsed_s: float) -> bool:
            return len(kills) >= bench.num_kills and elapsed_s > kills[-1] - started + bench.seconds

        def kill_one() -> None:
            if len(kills) < bench.num_kills and running_replicas() >= 2:
                process = random.choice(replica_processes())
                process.send_signal(signal.SIGKILL)
                kills.append(time.monotonic())
                # until Serve notices, its count is one too many and the next kill hits the last
                while running_replicas() >= 2:
                    time.sleep(0.2)

        with Sampler(kill_one):
            load = asyncio.run(open_loop(target, rate=peak / 2, until=is_over))
    refused = sum(load.statuses[str(status)] for status in (429, 503))
    return {
        "peak_per_s": round(peak, 1),
        "kills": len(kills),
        "kill": load.row(),
        "refused_share": round(refused / max(1, sum(load.statuses.values())), 4),
    }


def rolling_scene(bench: Bench) -> dict[str, Any]:
    """Change thresholds, then the batch size (new processes), then back, at half of peak load."""
    config = serving(replicas={"min_replicas": 2, "max_replicas": 2})
    updates: dict[str, float] = {}
    done = threading.Event()
    with running_server(config):
        target, peak = _measured_peak(bench, config.port)

        def update() -> None:
            changes = {
                "thresholds": {"thresholds": ("dog=0.9",)},
                "new processes": {"batch_size": 8},
                "back": {},
            }
            for name, change in changes.items():
                started = time.monotonic()
                serve.run(application(dataclasses.replace(config, **change)), name=APP_NAME)
                updates[name] = round(time.monotonic() - started, 1)
            time.sleep(2)
            done.set()

        with ThreadPoolExecutor(1) as pool:
            updating = pool.submit(update)
            load = asyncio.run(
                open_loop(target, rate=peak / 2, until=lambda s: done.is_set() or s > 300)
            )
            updating.result()
    return {"peak_per_s": round(peak, 1), "update_seconds": updates, "rolling": load.row()}


def autoscaling_scene(bench: Bench) -> dict[str, Any]:
    """1 -> 64 -> 1 clients between 1 and 3 replicas, then once from zero; the model stubbed."""
    delays = {"upscale_delay_s": 1.0, "downscale_delay_s": 5.0, "max_replicas": 3}
    config = serving(batch_size=4, replicas=delays)
    result: dict[str, Any] = {}
    with running_server(config, SleepingServer):
        target = bench.target(config.port, check=False)
        asyncio.run(closed_loop(target, clients=1, seconds=3))
        result["1 client"], _ = _until_replicas(target, 1, lambda n: n == 1, 3)
        result["64 clients"], up = _until_replicas(target, 64, lambda n: n >= 3, bench.seconds)
        result["1 client again"], down = _until_replicas(target, 1, lambda n: n == 1, 3)
    result["seconds_from_1_to_3_replicas"], result["seconds_back_to_1"] = up, down
    config = serving(batch_size=4, replicas=delays | {"min_replicas": 0})
    with running_server(config, SleepingServer):
        target = bench.target(config.port, check=False)
        load = asyncio.run(closed_loop(target, clients=1, seconds=1))
        result["first request from zero"] = load.row()
    return result


def _until_replicas(
    target: Target, clients: int, is_reached: Callable[[int], bool], extra_s: float
) -> tuple[dict[str, Any], float | None]:
    """Load until the number of replicas is right and some more; return when it was."""
    started = time.monotonic()
    reached: list[float] = []

    def look() -> None:
        if not reached and is_reached(running_replicas()):
            reached.append(time.monotonic() - started)

    total = Load()
    with Sampler(look):
        while time.monotonic() - started < 120:
            part = asyncio.run(closed_loop(target, clients=clients, seconds=2))
            total.add(part)
            if reached and time.monotonic() - started > reached[0] + extra_s:
                break
    total.ended = time.monotonic()
    return total.row(), round(reached[0], 1) if reached else None


def _measured_peak(bench: Bench, port: int) -> tuple[Target, float]:
    target = bench.target(port)
    asyncio.run(closed_loop(target, clients=8, seconds=2))
    peak = asyncio.run(closed_loop(target, clients=16, seconds=bench.seconds))
    return target, peak.goodput()

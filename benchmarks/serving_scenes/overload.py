"""Five times the peak for a minute."""

import asyncio
import time
from typing import Any

from benchmarks.cpu_time import memory_mib
from benchmarks.http_load import Load, Target, closed_loop, open_loop
from benchmarks.serving_scenes.bench import Bench, serving
from benchmarks.serving_scenes.replicas import Sampler
from benchmarks.sleeping_model import SECONDS_PER_IMAGE, SleepingServer
from ram_ray.serving.server import running_server

_OVERLOAD_S = 60.0


def overload_scene(bench: Bench) -> dict[str, Any]:
    """Offer five times the measured peak, the model stubbed by a fixed service time."""
    # small batches: of 16, each takes 1.6 s, and a window of 5 s holds two or three by chance
    config = serving(batch_size=4)
    with running_server(config, SleepingServer):
        target = bench.target(config.port, check=False)
        asyncio.run(closed_loop(target, clients=16, seconds=2))
        peak = asyncio.run(closed_loop(target, clients=16, seconds=bench.seconds))
        rate = 5 * peak.goodput()
        memory = [memory_mib("ServeReplica")]
        with Sampler(lambda: memory.append(memory_mib("ServeReplica"))):
            load = asyncio.run(open_loop(target, rate=rate, until=lambda s: s > _OVERLOAD_S))
        recovered_s = _seconds_until_quick(target, 5_000 * SECONDS_PER_IMAGE)
    windows = _goodput_per_window(load, 5.0)
    return {
        "peak": peak.row(),
        "offered_per_s": round(rate, 1),
        "overload": load.row(),
        "lowest_5s_goodput_of_peak": round(min(windows) / peak.goodput(), 3),
        "goodput_per_5s": windows,
        "memory_mib": {"before": memory[0], "highest": max(memory), "after": memory[-1]},
        "seconds_until_latency_is_normal": recovered_s,
    }


def _goodput_per_window(load: Load, window_s: float) -> list[float]:
    whole = int((load.ended - load.started) // window_s)
    counts = [0] * max(1, whole)
    for at in load.finished_at:
        index = int((at - load.started) // window_s)
        if index < len(counts):
            counts[index] += 1
    return [count / window_s for count in counts]


def _seconds_until_quick(target: Target, latency_ms: float) -> float | None:
    started = time.monotonic()
    while time.monotonic() - started < 60:
        load = asyncio.run(closed_loop(target, clients=1, seconds=0.3))
        if load.seconds and max(load.seconds) * 1000 < latency_ms:
            return round(time.monotonic() - started, 1)
    return None

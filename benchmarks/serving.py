"""Serving under load: throughput, overload, killed replicas, rolling updates, autoscaling.

    python -m benchmarks.serving --scenes load,kill --seconds 10 --out serving.json

Prints JSON: per scene rows with requests, failed, p50_ms, p95_ms, p99_ms, status_counts. A request
has failed when it ended with anything but a result, 429 or 503: another status, a reset connection,
no answer within 30 s, or a result whose tags are not those that the photo gets in one process.
"""

import argparse
import asyncio
import contextlib
import dataclasses
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import psutil
from ray import serve

from benchmarks.cpu_time import CpuTime, memory_mib, own_processes, title
from benchmarks.http_load import Load, Target, closed_loop, open_loop
from benchmarks.sleeping_model import SECONDS_PER_IMAGE, SleepingServer
from ram_ray.cluster import ray_session
from ram_ray.serving.config import ReplicaConfig, ServeConfig
from ram_ray.serving.deployment import application
from ram_ray.serving.environment import prepare_environment
from ram_ray.serving.server import APP_NAME, running_server

SCENES = ("load", "overload", "kill", "rolling", "autoscaling")
CLIENTS: tuple[int, ...] = (1, 8, 64)
REPLICA_TITLE = f"ServeReplica:{APP_NAME}:model"
FLOOR = 0.05
OVERLOAD_S = 60.0
ROUNDS = 3
TINY = {"cpus_per_replica": 0.2, "cpus_per_ingress": 0.2}


@dataclasses.dataclass(frozen=True)
class Bench:
    """What every scene works with."""

    seconds: float
    bodies: list[bytes]
    expected: list[dict[int, float]]
    num_kills: int = 6

    def target(self, port: int, *, check: bool = True) -> Target:
        """Return the photos to send to a server, and how right answers look."""
        url = f"http://127.0.0.1:{port}/v1/tag?score_floor={FLOOR}"
        return Target(url, self.bodies, self._is_right if check else lambda index, body: True)

    def _is_right(self, index: int, body: bytes) -> bool:
        tags = {tag["id"]: tag["score"] for tag in json.loads(body)["images"][0]["tags"]}
        expected = self.expected[index]
        for tag_id in tags.keys() ^ expected.keys():
            if abs({**expected, **tags}[tag_id] - FLOOR) > 1e-5:
                return False
        return all(abs(tags[i] - expected[i]) < 1e-5 for i in tags.keys() & expected.keys())


def make_bench(photos: str | None, seconds: float, num_kills: int) -> Bench:
    """Read up to 64 photos (default: the demo's) and tag them in this process."""
    from ram_model import Tagger
    from ram_ray.errors import ImageError
    from ram_ray.images import Decoder

    if photos is None:
        from ram_ray.demo.photos import demo_bucket

        found: Iterator[bytes] = (data for _, data in demo_bucket())
    else:
        found = (path.read_bytes() for path in sorted(Path(photos).rglob("*.jpg")))
    tagger = Tagger.load("ram-mini", score_floor=FLOOR, batch_size=1)
    bench = Bench(seconds, [], [], num_kills)
    with Decoder(tagger.image_size_px, ServeConfig().decode) as decoder:
        for data in found:
            try:
                tags = tagger(decoder.decode(data).pixels[None])[0]
            except ImageError:
                continue
            bench.bodies.append(data)
            bench.expected.append(
                dict(zip(tags.tag_ids.tolist(), tags.scores.tolist(), strict=True))
            )
            if len(bench.bodies) == 64:
                break
    return bench


def serving(**changes: Any) -> ServeConfig:
    """Return the configuration of a scene, on a free port."""
    replicas = ReplicaConfig(**TINY | changes.pop("replicas", {}))
    settings = {"device": "cpu", "threads": 1, "port": free_port(), "replicas": replicas}
    return ServeConfig(**settings | changes)


def free_port() -> int:
    """Return a port that nobody listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


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
    process = subprocess.Popen(command, cwd=Path(__file__).parents[1])
    try:
        for _ in range(600):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait()


def _turns(bench: Bench, ports: dict[str, int], rounds: int = ROUNDS) -> dict[str, Any]:
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
            load = asyncio.run(open_loop(target, rate=rate, until=lambda s: s > OVERLOAD_S))
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


class Sampler:
    """Calls a function again and again in a thread, for the length of a block."""

    def __init__(self, look: Callable[[], None], period_s: float = 0.5) -> None:
        self._look, self._period_s = look, period_s
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.wait(self._period_s):
            self._look()

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def running_replicas() -> int:
    """Return how many model replicas are ready, as Serve says."""
    deployment = serve.status().applications[APP_NAME].deployments["model"]
    return sum(count for state, count in deployment.replica_states.items() if state == "RUNNING")


def replica_processes() -> list[psutil.Process]:
    """Return the model replicas' processes among this process's own children."""
    return [process for process in own_processes() if REPLICA_TITLE in title(process)]


def main() -> None:
    """Run the scenes and print their figures."""
    parser = argparse.ArgumentParser(description="Serving under load; prints JSON.")
    parser.add_argument("--scenes", default=",".join(SCENES))
    parser.add_argument("--seconds", type=float, default=20.0, help="of one measurement")
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--photos", help="folder of .jpg files (default: the demo's photos)")
    parser.add_argument("--out", help="also write the JSON to this file")
    options = parser.parse_args()
    bench = make_bench(options.photos, options.seconds, options.kills)
    scenes = {
        "load": load_scene,
        "overload": overload_scene,
        "kill": kill_scene,
        "rolling": rolling_scene,
        "autoscaling": autoscaling_scene,
    }
    result: dict[str, Any] = {"photos": len(bench.bodies), "cpus": os.cpu_count()}
    prepare_environment(ServeConfig().host)
    with ray_session(None):
        for name in options.scenes.split(","):
            before = os.getloadavg()[0]
            result[name] = scenes[name](bench) | {"load_average_before": round(before, 1)}
            print(json.dumps({name: result[name]}), file=sys.stderr, flush=True)
    text = json.dumps(result, indent=1)
    if options.out:
        Path(options.out).write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

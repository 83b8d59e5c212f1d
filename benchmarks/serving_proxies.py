"""What stands before the ingress, and how it calls the model: bodies of three sizes through each.

    python -m benchmarks.serving_proxies --seconds 5 --out proxies.json

Prints JSON: for HAProxy or Serve's own proxy, with calls between Serve's processes by Ray or by
gRPC, and for bodies of 160 kB, 1 MB and 10 MB: latencies, requests per second, and CPU time per
request of all but decoding and the model, which are the same everywhere. "ingress": the same
request to the ingress process itself, without a proxy (where HAProxy stands before it).
"""

import argparse
import asyncio
import io
import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from PIL import Image

from benchmarks.cpu_time import CpuTime, own_processes, title
from benchmarks.http_load import Target, closed_loop
from benchmarks.serving_door import served

PROXIES = {"haproxy": "1", "serve's own": "0"}
CALLS = {"ray": "0", "grpc": "1"}
_CLIENTS = 4
_SAME = ("model", "decode", "client")


def noise_jpeg(num_bytes: int) -> bytes:
    """Return a JPEG of about this size."""
    side, data = 64, b""
    rng = np.random.default_rng(0)
    while len(data) < num_bytes:
        pixels = rng.integers(0, 256, (side, side, 3), np.uint8)
        out = io.BytesIO()
        Image.fromarray(pixels).save(out, "JPEG", quality=90)
        data, side = out.getvalue(), int(side * 1.1) + 8
    return data


SIZES = {"160 kB": 160_000, "1 MB": 1_000_000, "10 MB": 10_000_000}


def measure(port: int, bodies: dict[str, bytes], seconds: float) -> dict[str, Any]:
    """Load one port with each size."""
    rows: dict[str, Any] = {}
    for name, body in bodies.items():
        target = Target(f"http://127.0.0.1:{port}/v1/tag?top_k=5", [body])
        asyncio.run(closed_loop(target, clients=_CLIENTS, seconds=1))
        cpu = CpuTime()
        with cpu.of(port, ()):
            load = asyncio.run(closed_loop(target, clients=_CLIENTS, seconds=seconds))
        spent = cpu.row(sum(load.statuses.values()))
        parts = spent["cpu_ms_by_part"]
        assert isinstance(parts, dict)
        between = sum(ms for part, ms in parts.items() if part not in _SAME)
        rows[name] = load.row() | spent | {"cpu_ms_between": round(between, 2)}
    return rows


def ingress_port() -> int:
    """Return where the ingress process itself listens."""
    for process in own_processes():
        if "ServeReplica:ram-ray:ingress" in title(process):
            heard = [c for c in process.net_connections() if c.status == psutil.CONN_LISTEN]
            ports = sorted(c.laddr.port for c in heard if 30_000 <= c.laddr.port <= 31_000)
            return ports[0]
    raise RuntimeError("there is no ingress process")


def main() -> None:
    """Run every combination and print its figures."""
    parser = argparse.ArgumentParser(description="Proxies and data planes; prints JSON.")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--out", help="also write the JSON to this file")
    options = parser.parse_args()
    bodies = {name: noise_jpeg(size) for name, size in SIZES.items()}
    result: dict[str, Any] = {"cpus": os.cpu_count()}
    for number in range(options.rounds):
        for proxy, has_haproxy in PROXIES.items():
            for calls, by_grpc in CALLS.items():
                os.environ["RAY_SERVE_ENABLE_HA_PROXY"] = has_haproxy
                os.environ["RAY_SERVE_USE_GRPC_BY_DEFAULT"] = by_grpc
                key = f"{number}: {proxy}, {calls}"
                with served() as (_, port):
                    row: dict[str, Any] = {"load_average": os.getloadavg()[0]}
                    result[key] = row
                    row["proxy"] = measure(port, bodies, options.seconds)
                    if proxy == "haproxy":
                        row["ingress"] = measure(ingress_port(), bodies, options.seconds)
    text = json.dumps(result, indent=1)
    if options.out:
        Path(options.out).write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

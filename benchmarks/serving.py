"""Serving under load: throughput, overload, killed replicas, rolling updates, autoscaling.

    python -m benchmarks.serving --scenes load,kill --seconds 10 --out serving.json

Prints JSON: per scene rows with requests, failed, p50_ms, p95_ms, p99_ms, status_counts. A request
has failed when it ended with anything but a result, 429 or 503: another status, a reset connection,
no answer within 30 s, or a result whose tags are not those that the photo gets in one process.
"""

import argparse
import json
import os
import sys
from pathlib import Path
from typing import Any

from benchmarks.serving_scenes.bench import make_bench
from benchmarks.serving_scenes.changes import autoscaling_scene, kill_scene, rolling_scene
from benchmarks.serving_scenes.load import load_scene
from benchmarks.serving_scenes.overload import overload_scene
from ram_ray.cluster import ray_session
from ram_ray.serving.config import ServeConfig
from ram_ray.serving.environment import prepare_environment

SCENES = {
    "load": load_scene,
    "overload": overload_scene,
    "kill": kill_scene,
    "rolling": rolling_scene,
    "autoscaling": autoscaling_scene,
}


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
    result: dict[str, Any] = {"photos": len(bench.bodies), "cpus": os.cpu_count()}
    prepare_environment(ServeConfig().host)
    with ray_session(None):
        for name in options.scenes.split(","):
            before = os.getloadavg()[0]
            result[name] = SCENES[name](bench) | {"load_average_before": round(before, 1)}
            print(json.dumps({name: result[name]}), file=sys.stderr, flush=True)
    text = json.dumps(result, indent=1)
    if options.out:
        Path(options.out).write_text(text + "\n", encoding="utf-8")
    print(text)


if __name__ == "__main__":
    main()

"""Jobs through the door of the real app, on a Ray with a job server; prints JSON.

    python -m tests.serving.jobs_on_ray FOLDER

FOLDER holds photos/; a Ray of its own, because the test session's has no dashboard.
"""

import json
import shutil
import sys
import tempfile
import time
from pathlib import Path

import ray
import ray._private.utils
import requests
from ray.cluster_utils import Cluster

from ram_ray.serving.config import JobsConfig, ServeConfig
from tests.serving.page_server import serving

DEADLINE_S = 400


def main(folder: Path) -> None:
    """Run a job to its end, one that fails, and one that is cancelled."""
    # A cluster would name itself as everybody's default in a file that outlives it.
    ray._private.utils.write_ray_address = lambda *args, **kwargs: None
    sockets = tempfile.mkdtemp(prefix="rr-", dir="/tmp")  # their paths must be short
    cluster = Cluster(
        initialize_head=True,
        head_node_args={
            "num_cpus": 2,
            "object_store_memory": 200 * 2**20,
            "include_dashboard": True,
            "dashboard_port": 0,
            # any free one: another Ray of this machine may hold the usual one
            "dashboard_agent_listen_port": 0,
            "temp_dir": sockets,
        },
    )
    ray.init(address=cluster.address, log_to_driver=False)
    jobs = JobsConfig(
        sources=(f"{folder}/photos",),
        outputs=(f"{folder}/out",),
        settings=("device=cpu", "shard_rows=4"),
    )
    with serving(ServeConfig(jobs=jobs)) as address:
        print(json.dumps(scenes(address, folder)))
    ray.shutdown()
    cluster.shutdown()
    shutil.rmtree(sockets, ignore_errors=True)


def scenes(address: str, folder: Path) -> dict:
    """Return what the API said."""
    done = start(address, folder, "photos", "out/done")
    second = requests.post(f"{address}v1/jobs", json=body(folder, "photos", "out/done"), timeout=60)
    seen = follow(address, done["id"])
    failing = start(address, folder, "photos/none", "out/failing")
    endless = start(address, folder, "photos", "out/endless")
    cancelled = requests.post(f"{address}v1/jobs/{endless['id']}/cancel", timeout=60)
    return {
        "started": done,
        "second": [second.status_code, second.json()["error"]["code"]],
        "seen": seen,
        "failed": follow(address, failing["id"])[-1],
        "cancel_status": cancelled.status_code,
        "cancelled": follow(address, endless["id"])[-1],
        "unknown": requests.get(f"{address}v1/jobs/ram-ray-0", timeout=60).status_code,
        "listed": requests.get(f"{address}v1/jobs", timeout=60).json(),
    }


def body(folder: Path, source: str, output: str) -> dict:
    """Return a request."""
    return {"source": f"{folder}/{source}", "output": f"{folder}/{output}", "top_k": 3}


def start(address: str, folder: Path, source: str, output: str) -> dict:
    """Start a job and return it."""
    deadline = time.monotonic() + DEADLINE_S
    while True:  # 503 while Ray's agents are starting
        answer = requests.post(f"{address}v1/jobs", json=body(folder, source, output), timeout=60)
        if answer.status_code != 503 or time.monotonic() > deadline:
            break
        time.sleep(int(answer.headers["Retry-After"]) / 5)
    assert answer.status_code == 201, answer.text
    return answer.json()


def follow(address: str, job_id: str) -> list[dict]:
    """Return the different states of a job until it has ended."""
    seen: list[dict] = []
    deadline = time.monotonic() + DEADLINE_S
    while not seen or seen[-1]["status"] in ("pending", "running"):
        assert time.monotonic() < deadline, seen
        answer = requests.get(f"{address}v1/jobs/{job_id}", timeout=60)
        if answer.status_code == 200 and (not seen or answer.json() != seen[-1]):
            seen.append(answer.json())
        time.sleep(0.5)
    return seen


if __name__ == "__main__":
    main(Path(sys.argv[1]))

"""A program: train on a cluster of two nodes while workers and nodes die; print what happened.

    python -m tests.faults.training_driver SETTINGS.json EVENT,EVENT,...

Events, in order: `kill_worker`, `kill_node`, `add_node`. Each waits until the one before has shown
in the run. The last line printed is JSON.
"""

import json
import os
import sys
import tempfile
import threading
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import psutil
import ray
from ray._private import utils
from ray.cluster_utils import Cluster

from ram_ray.training.config import TrainConfig
from ram_ray.training.notes import Attempt
from ram_ray.training.pipeline import train

STEPS_BETWEEN = 6
"""Steps that training must go on before the next event."""
WAIT_S = 600.0


class Scene:
    """A cluster of a head without CPUs and two nodes of one CPU, and a run on it."""

    def __init__(self, config: TrainConfig, folder: str) -> None:
        # Cluster writes the address every bare ray.init on this machine would join
        utils.write_ray_address = lambda *_args, **_kwargs: None
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": 200 << 20}
        self.cluster = Cluster(initialize_head=True, head_node_args=head | {"temp_dir": folder})
        self.nodes = [self._add(), self._add()]
        ray.init(address=self.cluster.address, log_to_driver=False)
        self.result: dict[str, Any] = {}
        self._config = config
        self._audit = Path(str(config.audit))
        self._thread = threading.Thread(target=self._train, daemon=True)
        self._thread.start()

    def _add(self) -> Any:
        return self.cluster.add_node(num_cpus=1, object_store_memory=100 << 20)

    def _add_while_running(self) -> None:
        """Add a node; on a busy machine one may take longer to start than Ray waits, 30 s."""
        before = self._alive()
        try:
            self.nodes.append(self._add())
        except Exception as error:  # noqa: BLE001  Ray has no type for it
            print(f"slow node: {str(error)[:60]}", flush=True)
            self.wait_for("the new node", lambda: self._alive() > before)

    def _alive(self) -> int:
        return sum(1 for node in ray.nodes() if node["Alive"])

    def _train(self) -> None:
        try:
            self.result = asdict(train(self._config))
        except Exception as error:  # noqa: BLE001  the main thread reports it
            self.result = {"error": repr(error)}

    def wait_for(self, what: str, condition: Any) -> None:
        """Wait until the run shows something; give up when it ends first or takes too long."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            if self.result:
                raise SystemExit(f"the run ended before {what}: {self.result}")
            if time.monotonic() > deadline:
                raise SystemExit(f"waited in vain for {what}; audit: {self.state()}")
            time.sleep(0.2)

    def state(self) -> tuple[int, int, int]:
        """Return attempt, workers and step of the newest line of the audit."""
        found = (0, 0, 0)
        for file in self._audit.glob("*.jsonl") if self._audit.is_dir() else ():
            lines = file.read_text().splitlines()
            if lines:
                row = json.loads(lines[-1])
                found = max(found, (row["attempt"], row["world"], row["step"]))
        return found

    def has_steps(self, attempt: int, workers: int) -> bool:
        """Tell whether an attempt from `attempt` on has gone on for a while with these workers."""
        for file in self._audit.glob("*-0000.jsonl"):
            lines = file.read_text().splitlines()
            if len(lines) >= STEPS_BETWEEN:
                row = json.loads(lines[0])
                if row["attempt"] >= attempt and row["world"] == workers:
                    return True
        return False

    def kill_worker(self) -> None:
        """SIGKILL one training process."""
        for process in psutil.Process(os.getpid()).children(recursive=True):
            if "RayTrainWorker" in " ".join(process.cmdline()):
                process.kill()
                return
        raise SystemExit("there is no training process to kill")

    def act(self, event: str) -> None:
        """Do one thing to the cluster and wait until training goes on after it."""
        attempt = self.state()[0] + 1
        started = time.monotonic()
        if event == "kill_worker":
            self.kill_worker()
            workers = len(self.nodes)
        elif event == "kill_node":
            self.cluster.remove_node(self.nodes.pop(), allow_graceful=False)
            workers = 1
        else:
            self._add_while_running()
            workers = 2
        self.wait_for(f"{event} to be overcome", lambda: self.has_steps(attempt, workers))
        print(f"{event}: overcome after {time.monotonic() - started:.0f} s", flush=True)

    def finish(self) -> None:
        """Wait for the end of the run and of the cluster."""
        self._thread.join(WAIT_S)
        ray.shutdown()
        self.cluster.shutdown()


def main(settings: str, events: list[str]) -> None:
    config = TrainConfig(**json.loads(Path(settings).read_text()))
    with tempfile.TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as at:
        scene = Scene(config, at)
        scene.wait_for("the first steps", lambda: scene.has_steps(1, 2))
        for event in events:
            scene.act(event)
        scene.finish()
    result = scene.result
    result["attempts"] = [
        asdict(a) if isinstance(a, Attempt) else a for a in result.get("attempts", ())
    ]
    print(json.dumps(result))


if __name__ == "__main__":
    main(sys.argv[1], [event for event in sys.argv[2].split(",") if event])

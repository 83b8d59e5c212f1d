"""Model replicas as Serve and the operating system see them."""

import threading
from collections.abc import Callable

import psutil
from ray import serve

from benchmarks.cpu_time import own_processes, title
from ram_ray.serving.server import APP_NAME

_TITLE = f"ServeReplica:{APP_NAME}:model"


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
    return [process for process in own_processes() if _TITLE in title(process)]

"""Drivers in processes of their own, and the means to kill what belongs to them."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path

import psutil
import pyarrow.parquet as pq

DRIVER = """
import json, sys
from ram_ray.tagging.config import TagConfig
from ram_ray.errors import RamRayError
from ram_ray.tagging.pipeline import tag_bucket
try:
    summary = tag_bucket(TagConfig(**json.loads(sys.argv[1])))
except RamRayError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
print(summary)
"""

PARSE_DRIVER = """
import json, sys
from ram_ray.errors import RamRayError
from ram_ray.labels.parsing.pipeline import ParseConfig, parse_captions
try:
    summary = parse_captions(ParseConfig(**json.loads(sys.argv[1])))
except RamRayError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
print(summary)
"""

RETRY_DRIVER = """
import json, sys
from ram_ray.errors import RamRayError
from ram_ray.tagging.retrying.config import RetryConfig
from ram_ray.tagging.retrying.pipeline import retry_quarantined
try:
    summary = retry_quarantined(RetryConfig(**json.loads(sys.argv[1])))
except RamRayError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
print(summary)
"""

SHARD_ROWS = 16
_SHARD = re.compile(r"shard-\d{6}\.parquet")
WAIT_S = 240.0
"""For one thing to happen in a driver, on a slow machine."""


class Driver:
    """One call of `tag_bucket` in a process of its own."""

    script = DRIVER
    defaults: Mapping[str, object] = {
        "shard_rows": SHARD_ROWS,
        "batch_size": 8,
        "device": "cpu",
        "score_floor": 0.0,
    }

    def __init__(self, source: Path, output: Path, **settings: object) -> None:
        self.output = output
        config = {"source": str(source), "output": str(output), **self.defaults, **settings}
        self._start(config)

    def _start(self, config: Mapping[str, object]) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", self.script, json.dumps(config)],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def wait_until(self, condition: Callable[[], bool]) -> bool:
        """Wait for `condition`; False when the driver ends first."""
        deadline = time.monotonic() + WAIT_S
        while not condition():
            if self.process.poll() is not None:
                return False
            if time.monotonic() > deadline:
                raise TimeoutError(f"nothing happened; driver says: {self.kill()}")
            time.sleep(0.02)
        return True

    def kill(self) -> str:
        """SIGKILL the driver and wait until its whole Ray is gone; return what it printed."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        self.process.send_signal(signal.SIGKILL)
        _, alive = psutil.wait_procs(family, timeout=30)
        for process in alive:  # Ray's own reaper is slow on a busy machine
            process.kill()
        psutil.wait_procs(alive, timeout=30)
        printed, _ = self.process.communicate()
        return printed

    def kill_child(self, title: str) -> bool:
        """SIGKILL one process of this driver whose title contains `title`; False if none runs."""
        for process in psutil.Process(self.process.pid).children(recursive=True):
            try:
                if title in " ".join(process.cmdline()):
                    process.kill()
                    return True
            except psutil.NoSuchProcess:
                continue
        return False

    def finish(self) -> tuple[int, str]:
        """Wait for the driver's end; return exit code and output."""
        printed, _ = self.process.communicate(timeout=2 * WAIT_S)
        return self.process.returncode, printed

    def commits(self) -> int:
        """Return how many shards are committed."""
        folder = self.output / "commits"
        if not folder.is_dir():
            return 0
        return sum(name.endswith(".json") for name in os.listdir(folder))


class ParseDriver(Driver):
    """One call of `parse_captions` in a process of its own."""

    script = PARSE_DRIVER
    defaults: Mapping[str, object] = {
        "shard_bytes": 20_000,
        "num_parsers": 1,
        "cpus_per_parser": 0.5,
        "max_error_rate": 1.0,
        "widen": True,
        "evidence": True,
    }


class RetryDriver(Driver):
    """One call of `retry_quarantined` in a process of its own."""

    script = RETRY_DRIVER

    def __init__(self, output: Path, **settings: object) -> None:
        self.output = output
        self._start({"output": str(output), "device": "cpu", "max_error_rate": 1.0, **settings})

    def commits(self) -> int:
        """Return the commits of the retry's own run and of the shards it has changed."""
        commits = self.output.glob("retries/*/**/commits/*.json")
        return sum(1 for _ in commits)


def rows(output: Path, folder: str = "tags") -> dict[str, dict[str, object]]:
    """Return a run's rows by image id, having checked that no file is foreign and no id twice."""
    foreign = [name for name in os.listdir(output / folder) if not _SHARD.fullmatch(name)]
    assert not foreign
    listed = pq.read_table(output / folder).to_pylist()
    by_id = {row["image_id"]: row for row in listed}
    assert len(by_id) == len(listed)
    return by_id

"""SIGKILL the engine's driver in every step: resumed, it gives the labels of an undisturbed run."""

import json
import os
import random
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.data_engine.photos import rows, write_source
from tests.faults import scene
from tests.faults.scene import Driver

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3_000)]

COUNT = 120
STEPS = (
    "steps/parse",
    "steps/look",
    "steps/generate",
    "steps/sample",
    "steps/cluster",
    "revisions",
)
SCRIPT = """
import sys
import pytest
from ram_ray.data_engine.config import engine_config
from ram_ray.data_engine.engine import run
from ram_ray.errors import RamRayError
from tests.data_engine.inline import run_inline
if sys.argv[1] == "inline":
    run_inline(pytest.MonkeyPatch())
try:
    print(run(engine_config({}, settings=sys.argv[2:])))
except RamRayError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


class EngineDriver(Driver):
    """One call of the engine in a process of its own."""

    def __init__(self, source: Path, output: Path, executor: str = "ray") -> None:
        self.output = output
        settings = [f"source={source}", f"output={output}", "shard_rows=6", "device=cpu"]
        settings += ["windows.scales=[0.7]", "windows.overlap=0", "batch_size=4", "num_workers=1"]
        settings += ["filtering.min_precision=0.01", "filtering.max_over_removal=0.9"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", SCRIPT, executor, *settings],
            cwd=Path(__file__).parents[2],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def commits_of(self, step: str) -> int:
        """Return how many shards of a step are committed."""
        parent, _, name = step.rpartition("/")
        for folder in (self.output / (parent or step)).glob(f"{name}*" if parent else "*"):
            if (folder / "commits").is_dir():
                return len(os.listdir(folder / "commits"))
        return 0


@pytest.fixture(autouse=True)
def _patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """A run of six steps takes longer to get somewhere than one of tagging."""
    monkeypatch.setattr(scene, "WAIT_S", 900.0)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("engine") / "in"
    write_source(folder, COUNT)
    return folder


@pytest.mark.parametrize("executor", ["inline", "ray"])
def test_driver_killed_in_every_step(
    executor: str, request: pytest.FixtureRequest, source: Path, tmp_path: Path
) -> None:
    """Inline: every stage in the driver's process, so that each kill lands inside the step."""
    undisturbed = tmp_path / "undisturbed"
    code, printed = EngineDriver(source, undisturbed, executor).finish()
    assert code == 0, printed
    short = bool(request.config.getoption("--faults-short"))
    steps = ("steps/look", "steps/cluster") if short and executor == "ray" else STEPS
    chance = random.Random(0)
    for number in range(1 if short else 3):
        output = tmp_path / f"out-{number}"
        kills: dict[str, int] = {}
        for step in steps:
            driver = EngineDriver(source, output, executor)
            goal = chance.randint(1, 4)
            if not driver.wait_until(lambda s=step, d=driver, g=goal: d.commits_of(s) >= g):
                pytest.fail(f"the driver ended before it was killed: {driver.finish()}")
            time.sleep(chance.uniform(0, 0.1))
            driver.kill()
            kills[step] = driver.commits_of(step)
        print(json.dumps({"shards": COUNT // 6, "committed_when_killed": kills}))
        code, printed = EngineDriver(source, output, executor).finish()
        assert code == 0, printed
        for table in ("labels", "images", "log"):
            assert rows(output, table=table) == rows(undisturbed, table=table)

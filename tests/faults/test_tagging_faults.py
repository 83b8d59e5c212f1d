"""Kill anything at any time: after resuming, the output is that of an undisturbed run."""

import json
import os
import random
import shutil
import time
from pathlib import Path

import pytest

from ram_ray.config import StoreConfig
from ram_ray.tagging.outputs.verification import verify_output
from tests.conftest import write_photos
from tests.faults.scene import SHARD_ROWS, Driver, rows

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3_000)]


@pytest.fixture(scope="module")
def short(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--faults-short"))


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory, short: bool) -> Path:
    """Return a folder of photos: 30 shards of them for the short form, 80 for the full one."""
    folder = tmp_path_factory.mktemp("photos")
    write_photos(folder, (30 if short else 80) * SHARD_ROWS)
    (folder / "text.jpg").write_text("no image")
    return folder


@pytest.fixture(scope="module")
def undisturbed(photos: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    code, printed = Driver(photos, output).finish()
    assert code == 0, printed
    return output


def assert_equal_runs(output: Path, undisturbed: Path) -> None:
    assert verify_output(str(output), StoreConfig()).ok
    assert rows(output) == rows(undisturbed)
    assert rows(output, "quarantine") == rows(undisturbed, "quarantine")


def test_driver_killed_again_and_again(
    photos: Path, undisturbed: Path, tmp_path: Path, short: bool
) -> None:
    output = tmp_path / "out"
    total = len(list((undisturbed / "commits").iterdir()))
    kills, chance = [], random.Random(0)
    for _ in range(2 if short else 10):
        driver = Driver(photos, output)
        goal = driver.commits() + chance.randint(1, 3)
        if not driver.wait_until(lambda d=driver, goal=goal: d.commits() >= goal):
            pytest.fail(f"the driver ended before it was killed: {driver.finish()}")
        time.sleep(chance.uniform(0, 0.3))
        driver.kill()
        kills.append(driver.commits())
    partly = sum(0 < committed < total for committed in kills)
    print(json.dumps({"kills": kills, "shards": total, "while_partly_committed": partly}))
    assert partly >= (1 if short else 6)
    code, printed = Driver(photos, output).finish()
    assert code == 0, printed
    assert_equal_runs(output, undisturbed)


@pytest.mark.parametrize(
    "title", ["TagImages", "FetchAndDecode", "images.child", "ReadPlan", "Committer"]
)
def test_worker_killed(
    title: str, photos: Path, undisturbed: Path, tmp_path: Path, short: bool
) -> None:
    """The run heals by itself, in the same call."""
    if short and title in ("ReadPlan", "FetchAndDecode"):
        pytest.skip("short form: three kinds of worker stand for all")
    output = tmp_path / "out"
    driver = Driver(photos, output)
    if title in ("TagImages", "Committer"):  # the others may have done their part by then
        assert driver.wait_until(lambda: driver.commits() >= 1)
    killed = 0
    for _ in range(1 if title == "Committer" or short else 3):
        killed += driver.wait_until(lambda: driver.kill_child(title))
        time.sleep(1.5)
    code, printed = driver.finish()
    assert code == 0, printed
    assert killed >= 1
    assert_equal_runs(output, undisturbed)


def test_object_that_vanishes_between_plan_and_fetch(
    photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    source, output = tmp_path / "photos", tmp_path / "out"
    shutil.copytree(photos, source)
    driver = Driver(source, output)
    assert driver.wait_until((output / "plan/plan.json").exists)
    driver.kill()
    assert driver.commits() == 0
    gone = sorted(rows(undisturbed))[-1]
    os.unlink(source / gone)
    code, printed = Driver(source, output).finish()
    assert code == 0, printed
    expected = {name: {**row, "uri": ""} for name, row in rows(undisturbed).items() if name != gone}
    assert {name: {**row, "uri": ""} for name, row in rows(output).items()} == expected
    assert rows(output, "quarantine")[gone]["error_code"] == "not_found"


def test_second_driver_is_refused_and_does_no_harm(
    photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    output = tmp_path / "out"
    first = Driver(photos, output)
    # As early as can be: on a busy machine the second takes long to start.
    assert first.wait_until((output / "leases/run/000001.beat").exists)
    code, printed = Driver(photos, output).finish()
    assert code == 2, printed
    assert "Another driver (process" in printed
    assert first.finish()[0] == 0
    assert_equal_runs(output, undisturbed)


def test_two_drivers_without_a_lease_still_commit_once(
    photos: Path, undisturbed: Path, tmp_path: Path
) -> None:
    """The lease saves work; correctness rests on the commits."""
    output = tmp_path / "out"
    first = Driver(photos, output)
    assert first.wait_until(lambda: first.commits() >= 1)
    shutil.rmtree(output / "leases")
    second = Driver(photos, output)
    for driver in (first, second):
        code, printed = driver.finish()
        assert code == 0, printed
    assert_equal_runs(output, undisturbed)

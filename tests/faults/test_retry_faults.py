"""Kill a retry at any time: called again, it ends as one that was left in peace."""

import random
import shutil
import time
from pathlib import Path

import pytest

from ram_ray.config import StoreConfig
from ram_ray.tagging.outputs.verification import verify_output
from tests.conftest import photo_bytes, write_photos
from tests.faults.scene import SHARD_ROWS, Driver, RetryDriver, rows

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3_000)]


def photos_and_run(folder: Path, shards: int) -> tuple[Path, Path]:
    """Return photos, a third of them empty in the run's eyes and mended since, and the run."""
    photos, output = folder / "photos", folder / "out"
    write_photos(photos, shards * SHARD_ROWS)
    broken = sorted(path for path in photos.rglob("*") if path.is_file())[::3]
    content = {path: path.read_bytes() for path in broken}
    for path in broken:
        path.write_bytes(b"")
    code, printed = Driver(photos, output, max_error_rate=1.0).finish()
    assert code == 0, printed
    for path, data in content.items():
        path.write_bytes(data)
    (photos / "a" / broken[0].name).write_bytes(photo_bytes(1)[:-300])  # stays broken
    return photos, output


def test_killed_again_and_again(tmp_path: Path, request: pytest.FixtureRequest) -> None:
    short = bool(request.config.getoption("--faults-short"))
    _, output = photos_and_run(tmp_path, shards=8 if short else 30)
    left_in_peace = shutil.copytree(output, tmp_path / "in-peace")
    code, printed = RetryDriver(left_in_peace).finish()
    assert code == 0, printed
    assert verify_output(str(left_in_peace), StoreConfig()).ok
    chance, kills = random.Random(0), 0
    for _ in range(2 if short else 8):
        driver = RetryDriver(output)
        goal = driver.commits() + chance.randint(1, 3)
        if not driver.wait_until(lambda d=driver, goal=goal: d.commits() >= goal):
            break
        time.sleep(chance.uniform(0, 0.02))
        driver.kill()
        kills += 1
    assert kills
    code, printed = RetryDriver(output).finish()
    assert code == 0, printed
    report = verify_output(str(output), StoreConfig())
    assert (report.ok, report.unfinished_retry) == (True, None)
    for folder in ("tags", "quarantine"):
        assert rows(output, folder) == rows(left_in_peace, folder)


def test_a_second_driver_is_refused(tmp_path: Path) -> None:
    _, output = photos_and_run(tmp_path, shards=4)
    first = RetryDriver(output)
    assert first.wait_until(lambda: (output / "retries/000001/retry.json").exists())
    code, printed = RetryDriver(output).finish()
    assert code == 2, printed
    assert "Another driver (process" in printed
    code, printed = first.finish()
    assert code == 0, printed
    assert verify_output(str(output), StoreConfig()).ok

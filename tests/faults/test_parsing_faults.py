"""Kill `labels parse` at any time: after resuming, its tables are those of an undisturbed run."""

import json
import random
import time
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.faults.scene import ParseDriver

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3_000)]

FOLDERS = ("tags", "quarantine", "evidence", "frequencies", "pairs")
SUMS = ("frequencies.parquet", "cooccurrence.parquet")
NAMES = "dog cat person couch table brown run sit kitchen street car bus tree ball grass".split()


@pytest.fixture(scope="module")
def short(request: pytest.FixtureRequest) -> bool:
    return bool(request.config.getoption("--faults-short"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, short: bool) -> Path:
    """Return a folder with some 30 shards of captions for the short form, 120 for the full one."""
    folder = tmp_path_factory.mktemp("captions")
    chance = random.Random(0)
    for file in range(3 if short else 12):
        lines = []
        for number in range(800):
            words = [chance.choice(NAMES) for _ in range(8)]
            captions = [f"a {words[n]} near two {words[n + 4]}s" for n in range(4)]
            lines.append(json.dumps({"image_id": f"{file}-{number}", "captions": captions}))
        lines[100 * file] = "no JSON"
        (folder / f"part-{file:02}.jsonl").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("vocabulary") / "names.txt"
    path.write_text("\n".join(NAMES) + "\n", encoding="utf-8")
    return str(path)


@pytest.fixture(scope="module")
def undisturbed(source: Path, vocabulary: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("undisturbed") / "out"
    code, printed = ParseDriver(source, output, vocabulary=vocabulary).finish()
    assert code == 0, printed
    return output


def tables(output: Path) -> dict[str, list[dict]]:
    """Return every table of a run, shard by shard."""
    found = {name: pq.read_table(output / name).to_pylist() for name in SUMS}
    for folder in FOLDERS:
        shards = sorted((output / folder).iterdir())
        assert all(shard.suffix == ".parquet" for shard in shards)
        found[folder] = pa.concat_tables([pq.read_table(shard) for shard in shards]).to_pylist()
    return found


def test_driver_killed_again_and_again(
    source: Path, vocabulary: str, undisturbed: Path, tmp_path: Path, short: bool
) -> None:
    output = tmp_path / "out"
    total = len(list((undisturbed / "commits").iterdir()))
    kills, chance = [], random.Random(0)
    for _ in range(2 if short else 8):
        driver = ParseDriver(source, output, vocabulary=vocabulary)
        goal = driver.commits() + chance.randint(1, 3)
        if not driver.wait_until(lambda d=driver, goal=goal: d.commits() >= goal):
            pytest.fail(f"the driver ended before it was killed: {driver.finish()}")
        time.sleep(chance.uniform(0, 0.2))
        driver.kill()
        kills.append(driver.commits())
    partly = sum(0 < committed < total for committed in kills)
    print(json.dumps({"kills": kills, "shards": total, "while_partly_committed": partly}))
    assert partly >= (1 if short else 5)
    code, printed = ParseDriver(source, output, vocabulary=vocabulary).finish()
    assert code == 0, printed
    assert tables(output) == tables(undisturbed)


def test_worker_killed(source: Path, vocabulary: str, undisturbed: Path, tmp_path: Path) -> None:
    """The run heals by itself, in the same call."""
    output = tmp_path / "out"
    driver = ParseDriver(source, output, vocabulary=vocabulary)
    assert driver.wait_until(lambda: driver.commits() >= 1)
    assert driver.wait_until(lambda: driver.kill_child("ParseShard"))
    code, printed = driver.finish()
    assert code == 0, printed
    assert tables(output) == tables(undisturbed)

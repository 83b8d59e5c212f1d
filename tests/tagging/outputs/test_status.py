"""How far a run is, from files that a run leaves at each of its moments."""

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ram_ray.cli.app import app
from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.runs.leases import take_lease
from ram_ray.storage.stores import open_store
from ram_ray.tagging.outputs.status import read_status
from tests.tagging.outputs.test_rethresholding import write_run


def at(folder: Path, shard: int, moment: str) -> None:
    """Say when a shard was committed."""
    path = folder / f"commits/shard-{shard:06d}.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"committed_at": moment}))


def test_half_a_run_whose_driver_lives(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", committed=False, shard_rows=2)
    lease = take_lease(open_store(str(run), StoreConfig()))
    status = read_status(str(run))
    lease.release()
    assert (status.state, status.planned, status.done, status.committed) == ("running", 3, 2, 1)
    assert status.driver is not None
    assert status.images_per_s is None  # one moment is no rate
    assert read_status(str(run)).state == "stopped"


def test_the_rate_is_that_of_the_latest_commits(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", ids=[f"{n}.jpg" for n in range(6)], shards=2, shard_rows=2)
    at(run, 0, "2026-11-29T10:00:00+00:00")
    at(run, 1, "2026-11-29T10:00:04+00:00")
    status = read_status(str(run))
    assert (status.images_per_s, status.left_s) == (0.5, 4.0)
    assert (status.first_commit, status.last_commit) == (
        "2026-11-29T10:00:00+00:00", "2026-11-29T10:00:04+00:00"
    )  # fmt: skip


def test_a_finished_run_and_a_folder_without_one(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", shard_rows=2)
    status = read_status(str(run))
    assert (status.state, status.done, status.left_s) == ("finished", 3, None)
    (tmp_path / "empty").mkdir()
    with pytest.raises(ConfigError, match="holds no run"):
        read_status(str(tmp_path / "empty"))


def test_a_source_that_is_being_listed(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "run"), StoreConfig(), create=True)
    lease = take_lease(store)
    status = read_status(str(tmp_path / "run"))
    lease.release()
    assert (status.state, status.planned, status.listed) == ("planning", None, None)


def test_the_command_prints_it(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run", committed=False, shard_rows=2)
    result = CliRunner().invoke(app, ["status", str(run)])
    assert result.exit_code == 0
    assert "2 (66.7%) in 1 shard" in result.output
    assert "run the same `ram-ray tag` again" in result.output
    found = CliRunner().invoke(app, ["status", str(run), "--json"])
    assert json.loads(found.stdout)["state"] == "stopped"

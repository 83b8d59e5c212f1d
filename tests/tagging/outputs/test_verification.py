"""What `verify` says about files that are not as committed."""

from pathlib import Path

import pyarrow as pa
import pytest

from ram_ray.config import StoreConfig
from ram_ray.runs.commits import commit_shard
from ram_ray.runs.plans import read_plan_shard, write_plan
from ram_ray.storage.sources import NameFilter, SourceObject
from ram_ray.storage.stores import open_store
from ram_ray.tagging.outputs.verification import verify_output
from ram_ray.tagging.tables import QUARANTINE, TAGS


@pytest.fixture
def output(tmp_path: Path) -> Path:
    """Return a finished run of one shard and two images."""
    return finished_run(tmp_path, {"/in/a.jpg": "a.jpg", "/in/b.jpg": "b.jpg"})


def finished_run(tmp_path: Path, ids: dict[str, str]) -> Path:
    """Return a finished run of one shard, of images by URI."""
    store = open_store(str(tmp_path / "out"), StoreConfig(), create=True)
    objects = [SourceObject(name, uri, None, 1) for uri, name in ids.items()]
    write_plan(store, objects, NameFilter((), ()), shard_rows=10, on_listed=lambda _: None)
    rows = [
        {"image_id": item.image_id, "uri": item.uri, "width": 1, "height": 1}
        | {"tags": ["x"], "tag_ids": [0], "scores": [0.5]}
        for item in objects
    ]
    tags = pa.Table.from_pylist(rows, TAGS)
    commit_shard(store, 0, read_plan_shard(store, 0), tags, QUARANTINE.empty_table())
    return tmp_path / "out"


def test_a_whole_run_is_ok(output: Path) -> None:
    report = verify_output(str(output), StoreConfig())
    assert report.ok
    assert (report.planned, report.tagged, report.quarantined) == (2, 2, 0)


def test_an_id_that_stands_for_two_images_is_named(tmp_path: Path) -> None:
    output = finished_run(tmp_path, {"/in/a.jpg": "a.jpg", "/in//a.jpg": "a.jpg"})
    report = verify_output(str(output), StoreConfig())
    assert not report.ok
    assert report.problems == ("'a.jpg' is planned 2 times.",)


@pytest.mark.parametrize(
    "stray",
    [
        "tags/shard-000000.parquet#0",  # what a killed copy of obstore leaves in a folder
        "tags/shard-000001.parquet",
        "tags/more/shard-000000.parquet",
        "quarantine/notes.txt",
    ],
)
def test_a_file_that_is_not_the_run_s_is_named(output: Path, stray: str) -> None:
    (output / stray).parent.mkdir(exist_ok=True)
    (output / stray).write_bytes((output / "tags/shard-000000.parquet").read_bytes())
    report = verify_output(str(output), StoreConfig())
    assert not report.ok
    assert [problem.split(" ")[0] for problem in report.problems] == [stray]


def test_a_file_that_is_gone_or_changed_is_named(output: Path) -> None:
    (output / "tags/shard-000000.parquet").unlink()
    (output / "quarantine/shard-000000.parquet").write_bytes(b"changed")
    report = verify_output(str(output), StoreConfig())
    assert report.missing == 2
    assert "tags/shard-000000.parquet is committed, but not there." in report.problems
    assert any("not the file that was committed" in problem for problem in report.problems)

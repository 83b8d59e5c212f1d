"""How far a run is, counted from its files; each commit is read once."""

import pyarrow as pa
import pytest

from ram_ray.config import StoreConfig
from ram_ray.runs.commits import commit_key, commit_shard
from ram_ray.runs.plans import PLAN, write_plan
from ram_ray.serving.jobs.job_progress import Progress, ProgressReader
from ram_ray.storage.sources import NameFilter, SourceObject
from ram_ray.storage.stores import open_store
from ram_ray.tagging.tables import QUARANTINE, TAGS


@pytest.fixture
def run(tmp_path):
    store = open_store(str(tmp_path / "out"), StoreConfig(), create=True)
    objects = [SourceObject(f"{n}.jpg", f"/in/{n}.jpg", None, 10) for n in range(5)]
    return store, objects


def plan(store, objects):
    write_plan(store, objects, NameFilter((), ()), shard_rows=3, on_listed=lambda _: None)


def commit(store, shard, objects):
    """Commit a shard whose last image is quarantined."""
    rows = [{"image_id": o.image_id, "uri": o.uri, "size_bytes": 10} for o in objects]
    tags = [
        {"image_id": o.image_id, "uri": o.uri, "width": 1, "height": 1, "tags": [], "tag_ids": [],
         "scores": []} for o in objects[:-1]
    ]  # fmt: skip
    bad = [
        {"image_id": objects[-1].image_id, "uri": objects[-1].uri, "error_code": "empty",
         "message": "", "attempts": 1, "size_bytes": 0}
    ]  # fmt: skip
    tables = [
        pa.Table.from_pylist(*each) for each in ((rows, PLAN), (tags, TAGS), (bad, QUARANTINE))
    ]
    commit_shard(store, shard, *tables)


def test_progress_follows_plan_and_commits(run, tmp_path):
    store, objects = run
    reader = ProgressReader(StoreConfig())
    output = str(tmp_path / "out")
    assert reader.read(str(tmp_path / "nothing")) == Progress()
    assert reader.read(output) == Progress()
    plan(store, objects)
    assert reader.read(output) == Progress(5, 0, 0)
    commit(store, 0, objects[:3])
    for _ in range(2):  # counted once, however often it is asked for
        assert reader.read(output) == Progress(5, 2, 1)
    store.delete(commit_key(0))  # and read once
    commit(store, 1, objects[3:])
    assert reader.read(output) == Progress(5, 3, 2)

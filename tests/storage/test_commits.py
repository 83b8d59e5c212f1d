"""A shard is published exactly once, whoever dies when."""

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray.config import StoreConfig
from ram_ray.schema import QUARANTINE, TAGS
from ram_ray.storage import commits
from ram_ray.storage.commits import (
    Commit,
    ConservationError,
    commit_shard,
    committed_shards,
    finish_publishing,
    read_commit,
    read_commits,
    read_published,
)
from ram_ray.storage.plans import read_plan_shard, write_plan_shard
from ram_ray.storage.sources import SourceObject
from ram_ray.storage.stores import Store, open_store

IDS = ["a.jpg", "b.jpg", "c.jpg"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a store that holds the plan of shard 7: three images."""
    store = open_store(str(tmp_path), StoreConfig())
    write_plan_shard(store, 7, [SourceObject(name, f"/in/{name}", None, 1) for name in IDS])
    return store


def tables(tagged: list[str], quarantined: list[str], score: float = 0.5) -> list[pa.Table]:
    tags = [
        {"image_id": name, "uri": f"/in/{name}", "width": 1, "height": 1}
        | {"tags": ["x"], "tag_ids": [0], "scores": [score]}
        for name in tagged
    ]
    bad = [
        {"image_id": name, "uri": f"/in/{name}", "error_code": "empty", "message": ""}
        | {"attempts": 1, "size_bytes": 0}
        for name in quarantined
    ]
    return [pa.Table.from_pylist(tags, TAGS), pa.Table.from_pylist(bad, QUARANTINE)]


def commit(store: Store, *rows: pa.Table) -> Commit:
    return commit_shard(store, 7, read_plan_shard(store, 7), *rows)


def test_a_commit_publishes_both_files_and_leaves_no_staging(store: Store, tmp_path: Path) -> None:
    done = commit(store, *tables(IDS[:2], IDS[2:]))
    assert (done.rows, done.tagged, done.quarantined) == (3, 2, 1)
    assert done.quarantined_by_code == {"empty": 1}
    assert pq.read_table(tmp_path / "tags")["image_id"].to_pylist() == IDS[:2]
    assert pq.read_table(tmp_path / "quarantine")["image_id"].to_pylist() == IDS[2:]
    assert list(store.list("staging")) == []
    assert committed_shards(store) == {7}
    assert list(read_commits(store, [7])) == [done]


@pytest.mark.parametrize(
    ("tagged", "quarantined"),
    [(IDS[:2], []), (IDS, IDS[:1]), ([*IDS[:2], "d.jpg"], []), ([], [])],
)
def test_rows_that_are_not_the_plan_s_are_never_committed(
    store: Store, tagged: list[str], quarantined: list[str]
) -> None:
    with pytest.raises(ConservationError, match="Shard 7"):
        commit(store, *tables(tagged, quarantined))
    assert list(store.list("commits")) == list(store.list("staging")) == []


def test_the_first_commit_counts_and_a_late_attempt_changes_nothing(store: Store) -> None:
    first = commit(store, *tables(IDS, [], score=0.25))
    late = commit(store, *tables(IDS[:1], IDS[1:], score=0.75))
    assert late == first
    assert read_published(store, first.files[0])["scores"].to_pylist() == [[0.25]] * 3
    assert list(store.list("staging")) == []


def test_a_driver_that_died_before_publishing_is_finished_by_the_next(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(commits, "publish", lambda *_: None)
        done = commit(store, *tables(IDS, []))
    assert list(store.list("tags")) == []
    assert finish_publishing(store, committed_shards(store)) == 1
    assert read_published(store, done.files[0]).num_rows == 3
    assert list(store.list("staging")) == []


def test_staging_of_an_uncommitted_shard_is_kept_for_its_owner(store: Store) -> None:
    """Its owner may be a driver thought dead that commits in the next moment."""
    staged = "staging/shard-000007/someone/tags.parquet"
    store.write(staged, b"rows")
    finish_publishing(store, committed_shards(store))
    assert list(store.list("staging")) == [staged]
    commit(store, *tables(IDS, []))
    finish_publishing(store, committed_shards(store))
    assert list(store.list("staging")) == []


def test_a_retried_request_that_meets_its_own_commit_has_won(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    create = Store.create

    def create_twice(self: Store, key: str, data: bytes) -> bool:
        return create(self, key, data) and create(self, key, data)

    monkeypatch.setattr(Store, "create", create_twice)
    done = commit(store, *tables(IDS, []))
    assert read_commit(store, 7) == done
    assert read_published(store, done.files[0]).num_rows == 3


def test_a_file_that_changed_after_its_commit_is_noticed(store: Store) -> None:
    done = commit(store, *tables(IDS, []))
    store.write(done.files[0].name, b"something else")
    with pytest.raises(ConservationError, match="not the file that was committed"):
        read_published(store, done.files[0])


def test_a_commit_is_readable_json(store: Store) -> None:
    commit(store, *tables(IDS, []))
    fields = json.loads(store.read("commits/shard-000007.json"))
    assert fields["files"][0]["name"] == "tags/shard-000007.parquet"

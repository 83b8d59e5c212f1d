"""A shard is published exactly once, whoever dies when."""

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray.config import StoreConfig
from ram_ray.runs import commits
from ram_ray.runs.commits import (
    Commit,
    ConservationError,
    commit_shard,
    committed_shards,
    finish_publishing,
    read_commit,
    read_commits,
    read_published,
)
from ram_ray.runs.plans import read_plan_shard
from ram_ray.storage.sources import SourceObject
from ram_ray.storage.stores import Store, open_store
from ram_ray.tagging.tables import QUARANTINE, TAGS
from tests.runs.plan_shards import write_plan_shard

IDS = ["a.jpg", "b.jpg", "c.jpg"]


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Return a folder that holds the plan of shard 7: three images."""
    return with_plan(open_store(str(tmp_path), StoreConfig()))


@pytest.fixture(params=["folder", "s3"])
def any_store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Return a store of each kind with that plan."""
    if request.param == "folder":
        return with_plan(open_store(str(tmp_path), StoreConfig()))
    s3 = request.getfixturevalue("s3")
    return with_plan(open_store(s3.bucket(f"c-{abs(hash(tmp_path))}", {}) + "/run", s3.config))


def with_plan(store: Store) -> Store:
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


class Died(BaseException):
    """Stands in for SIGKILL: no handler of the product may catch it."""


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("step", range(5))
def test_a_committer_may_die_before_or_after_any_step(
    any_store: Store, step: int, after: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Steps: two files are staged, the commit is made, two files are moved to their places."""
    steps = iter(range(100))

    def dying(do: Callable[..., Any]) -> Callable[..., Any]:
        def step_or_die(self: Store, *args: Any) -> Any:
            last = next(steps) == step
            if last and not after:
                raise Died
            result = do(self, *args)
            if last:
                raise Died
            return result

        return step_or_die

    with monkeypatch.context() as patch:
        for name in ("write", "create", "move", "delete"):
            patch.setattr(Store, name, dying(getattr(Store, name)))
        with pytest.raises(Died):
            commit(any_store, *tables(IDS[:2], IDS[2:], score=0.25))
    assert set(published(any_store)) <= {
        "tags/shard-000007.parquet",
        "quarantine/shard-000007.parquet",
    }
    was_committed = committed_shards(any_store) == {7}
    assert was_committed == (step + after >= 3)
    if not was_committed:
        commit(any_store, *tables(IDS[:2], IDS[2:], score=0.75))
    finish_publishing(any_store, committed_shards(any_store))
    assert_published_once(any_store, score=0.25 if was_committed else 0.75)


def published(store: Store) -> list[str]:
    return [*store.list("tags"), *store.list("quarantine")]


def assert_published_once(store: Store, score: float) -> None:
    assert published(store) == ["tags/shard-000007.parquet", "quarantine/shard-000007.parquet"]
    assert list(store.list("staging")) == []
    tags, quarantine = (read_published(store, file) for file in read_commit(store, 7).files)
    assert tags["image_id"].to_pylist() == IDS[:2]
    assert quarantine["image_id"].to_pylist() == IDS[2:]
    assert tags["scores"].to_pylist() == [[score]] * 2


def test_publishing_again_or_by_several_at_once_leaves_one_file(any_store: Store) -> None:
    """A killed committer's shard is published by the driver, perhaps while an orphan is at it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(commits, "publish", lambda *_: None)
        done = commit(any_store, *tables(IDS[:2], IDS[2:]))
    with ThreadPoolExecutor(8) as threads:
        list(threads.map(lambda _: commits.publish(any_store, done), range(32)))
    finish_publishing(any_store, {7})
    assert_published_once(any_store, score=0.5)


def test_a_write_that_was_killed_half_way_is_cleared_with_its_shard(
    store: Store, tmp_path: Path
) -> None:
    """obstore writes "name#1" first; its own listing would hide that file for ever."""
    half = tmp_path / "staging/shard-000007/someone/tags.parquet#1"
    half.parent.mkdir(parents=True)
    half.write_bytes(b"PAR1")
    (tmp_path / "commits").mkdir()
    (tmp_path / "commits/shard-000007.json#1").write_bytes(b"{")
    assert committed_shards(store) == set()
    commit(store, *tables(IDS, []))
    finish_publishing(store, committed_shards(store))
    assert not (tmp_path / "staging").exists()


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

"""A plan is fixed once written, whoever else plans, is killed, or wakes up late."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ram_ray.config import StoreConfig
from ram_ray.runs.plan_files import PLAN_KEY, plan_place
from ram_ray.runs.plans import PlanSummary, read_plan, read_plan_shard, write_plan
from ram_ray.storage.sources import NameFilter, SourceObject
from ram_ray.storage.stores import Store, open_store
from tests.runs.plan_shards import write_plan_shard

NAMES = [f"{number:02d}.jpg" for number in range(10)]
SHARD_ROWS = 3


class KilledError(Exception):
    """Stands for a SIGKILL between two requests."""


def fresh(tmp_path: Path) -> Store:
    """Return the output as a process of its own would open it."""
    return open_store(str(tmp_path / "out"), StoreConfig(), create=True)


def objects(names: list[str] = NAMES, etag: str = "e") -> Iterator[SourceObject]:
    return (SourceObject(name, f"s3://b/{name}", etag, 7) for name in ["notes.txt", *names])


def plan(
    store: Store,
    listed: Iterator[SourceObject],
    *,
    after: Callable[[str], Iterator[SourceObject]] | None = None,
    on_listed: Callable[[int], None] = lambda _: None,
) -> PlanSummary:
    names = NameFilter((), ())
    return write_plan(store, listed, names, shard_rows=SHARD_ROWS, on_listed=on_listed, after=after)


def planned(store: Store) -> list[str]:
    summary = read_plan(store)
    assert summary
    shards = [read_plan_shard(store, shard) for shard in range(summary.shards)]
    return [name for shard in shards for name in shard["image_id"].to_pylist()]


def killed_after(rows: int) -> Callable[[int], None]:
    def on_listed(count: int) -> None:
        if count >= rows:
            raise KilledError

    return on_listed


def test_a_plan_lies_in_the_folder_of_its_attempt(tmp_path: Path) -> None:
    store = fresh(tmp_path)
    summary = plan(store, objects())
    ((attempt, shards),) = plan_place(store).attempts
    assert (summary.shards, summary.skipped, shards) == (4, 1, 4)
    names = [f"plan/{attempt}/shard-{shard:06d}.parquet" for shard in range(4)]
    assert sorted(store.list("plan")) == [*names, PLAN_KEY]
    assert planned(fresh(tmp_path)) == NAMES
    assert read_plan(store) == summary


def test_a_planner_that_wakes_up_late_changes_nothing(tmp_path: Path) -> None:
    slow = objects(etag="slow")
    store = fresh(tmp_path)

    def meanwhile(count: int) -> None:
        if count == 6:  # the slow one has written two shards, and is stopped past its lease
            plan(fresh(tmp_path), objects(NAMES[:5], "quick"))

    assert plan(store, slow, on_listed=meanwhile).rows == 5
    assert planned(store) == planned(fresh(tmp_path)) == NAMES[:5]
    assert set(read_plan_shard(fresh(tmp_path), 0)["etag"].to_pylist()) == {"quick"}
    assert len(list(store.list("plan"))) == 3  # two shards and plan.json


@pytest.mark.parametrize("rows", [3, 6, 9, 10])
def test_a_killed_planner_of_a_bucket_is_gone_on_with(tmp_path: Path, rows: int) -> None:
    asked: list[str] = []

    def after(uri: str) -> Iterator[SourceObject]:
        name = uri.removeprefix("s3://b/")
        asked.append(name)
        return objects([other for other in NAMES if other > name], "later")

    with pytest.raises(KilledError):
        plan(fresh(tmp_path), objects(), after=after, on_listed=killed_after(rows))
    summary = plan(fresh(tmp_path), objects(), after=after)
    assert asked == [NAMES[min(rows, 9) - 1]]
    assert (summary.rows, summary.shards, summary.size_bytes) == (10, 4, 70)
    assert summary.skipped == 2  # once in each listing: the stand-in lists it first
    store = fresh(tmp_path)
    assert planned(store) == NAMES
    assert [count for _, count in plan_place(store).attempts] == [
        min(rows, 9) // 3,
        4 - min(rows, 9) // 3,
    ]
    assert len(list(store.list("plan"))) == 5


def test_one_that_is_gone_on_with_may_still_wake_up(tmp_path: Path) -> None:
    def after(uri: str) -> Iterator[SourceObject]:
        return objects([other for other in NAMES if other > uri.rpartition("/")[2]], "later")

    def meanwhile(count: int) -> None:
        if count == 6:
            plan(fresh(tmp_path), objects(), after=after)

    plan(fresh(tmp_path), objects(), after=after, on_listed=meanwhile)
    store = fresh(tmp_path)
    assert planned(store) == NAMES
    etags = [read_plan_shard(store, shard)["etag"].to_pylist()[0] for shard in range(4)]
    assert etags == ["e", "e", "later", "later"]


def test_a_killed_planner_of_a_folder_leaves_nothing(tmp_path: Path) -> None:
    with pytest.raises(KilledError):
        plan(fresh(tmp_path), objects(), on_listed=killed_after(6))
    write_plan_shard(fresh(tmp_path), 0, list(objects()))  # as 0.1.0 left it
    plan(fresh(tmp_path), objects(NAMES[:2]))
    store = fresh(tmp_path)
    assert planned(store) == NAMES[:2]
    assert len(list(store.list("plan"))) == 2


def test_a_plan_of_0_1_0_is_read(tmp_path: Path) -> None:
    store = fresh(tmp_path)
    write_plan_shard(store, 0, list(objects(NAMES[:2])))
    told = {"shards": 1, "rows": 3, "size_bytes": 21, "skipped": 0, "listing_s": 0.1}
    store.write(PLAN_KEY, json.dumps(told).encode())
    assert planned(store) == ["notes.txt", *NAMES[:2]]
    assert plan_place(store).sha256 is None

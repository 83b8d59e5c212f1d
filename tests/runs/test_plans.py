"""Plans hold every listed image once, in shards that are cut into chunks always alike."""

from itertools import pairwise
from pathlib import Path

import pytest

from ram_ray.config import StoreConfig
from ram_ray.runs.plans import cut_chunks, read_plan, read_plan_shard, write_plan
from ram_ray.storage.sources import NameFilter, SourceObject
from ram_ray.storage.stores import Store, open_store


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return open_store(str(tmp_path), StoreConfig())


def listing(count: int, size_bytes: int = 10) -> list[SourceObject]:
    return [SourceObject(f"{n:03d}.jpg", f"/in/{n:03d}.jpg", "e", size_bytes) for n in range(count)]


def plan(store: Store, objects: list[SourceObject], shard_rows: int) -> list[int]:
    told: list[int] = []
    names = NameFilter((), ())
    write_plan(store, objects, names, shard_rows=shard_rows, on_listed=told.append)
    return told


def test_a_listing_becomes_full_shards_and_a_rest(store: Store) -> None:
    other = SourceObject("notes.txt", "/in/notes.txt", None, 1)
    assert plan(store, [other, *listing(25)], shard_rows=10) == [10, 20, 25]
    summary = read_plan(store)
    assert summary is not None
    assert (summary.shards, summary.rows, summary.skipped, summary.size_bytes) == (3, 25, 1, 250)
    shards = [read_plan_shard(store, shard)["image_id"].to_pylist() for shard in range(3)]
    ids = [name for shard in shards for name in shard]
    assert ids == [f"{n:03d}.jpg" for n in range(25)]


def test_an_unfinished_plan_is_none_and_is_replaced(store: Store) -> None:
    plan(store, listing(25), shard_rows=10)
    store.delete("plan/plan.json")
    assert read_plan(store) is None
    plan(store, listing(5), shard_rows=10)
    names = sorted(key.rpartition("/")[2] for key in store.list("plan"))
    assert names == ["plan.json", "shard-000000.parquet"]


def test_a_listing_without_images_leaves_no_plan(store: Store) -> None:
    assert plan(store, [], shard_rows=10) == [0]
    assert read_plan(store) is None


@pytest.mark.parametrize(
    ("sizes", "cuts"),
    [
        ([1] * 7, [3, 3, 1]),
        ([60, 60, 1, 1], [1, 3]),
        ([200, 200], [1, 1]),
        ([50, 50, 50], [2, 1]),
        ([1], [1]),
    ],
)
def test_chunks_respect_rows_and_bytes(store: Store, sizes: list[int], cuts: list[int]) -> None:
    objects = [SourceObject(f"{n}.jpg", f"/{n}", None, size) for n, size in enumerate(sizes)]
    plan(store, objects, shard_rows=100)
    starts = cut_chunks(read_plan_shard(store, 0), max_rows=3, max_bytes=100)
    assert [stop - start for start, stop in pairwise(starts)] == cuts
    assert starts[0] == 0

"""Chunks become whole shards; a chunk that kills its worker is narrowed down to one image."""

import asyncio
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import DiskFullError
from ram_ray.runs.commits import read_commit
from ram_ray.runs.committer import Begin, Committer, DrainReport, ShardAssembly
from ram_ray.runs.plans import read_plan_shard
from ram_ray.storage.sources import SourceObject
from ram_ray.storage.stores import open_store
from ram_ray.tagging.tables import (
    CAPTION,
    CAPTIONED_ROWS,
    QUARANTINE_ROWS,
    REMARKS,
    TAG_ROWS,
    commit_tags,
    tags_schema,
)
from tests.runs.plan_shards import write_plan_shard


def rows(*numbers: int) -> tuple[pa.Table, pa.Table]:
    """Return one chunk's rows; odd plan rows are quarantined."""
    key = [{"image_id": f"{n}.jpg", "uri": f"/{n}.jpg", "row": n} for n in numbers]
    tags = [
        item | {"width": 1, "height": 1, "tags": ["x"], "tag_ids": [0], "scores": [0.5]}
        for item in key
        if item["row"] % 2 == 0
    ]
    bad = [
        item | {"error_code": "empty", "message": "", "attempts": 1, "size_bytes": 0}
        for item in key
        if item["row"] % 2
    ]
    return pa.Table.from_pylist(tags, TAG_ROWS), pa.Table.from_pylist(bad, QUARANTINE_ROWS)


def test_a_shard_is_whole_when_its_last_chunk_is_in_and_rows_are_in_plan_order() -> None:
    shard = ShardAssembly(num_chunks=2)
    assert not shard.add(1, *rows(2, 3))
    assert shard.add(0, *rows(0, 1))
    tags, quarantine = shard.tables()
    assert tags["image_id"].to_pylist() == ["0.jpg", "2.jpg"]
    assert quarantine["image_id"].to_pylist() == ["1.jpg", "3.jpg"]
    assert "row" not in tags.column_names


def test_captions_are_stored_where_the_chunks_hold_them(tmp_path: Path) -> None:
    shard = ShardAssembly(num_chunks=2)
    tags, quarantine = rows(0)
    captioned = tags.add_column(7, CAPTION, [["a cat"]])
    none_tagged = pa.Table.from_pylist([], CAPTIONED_ROWS)
    assert not shard.add(0, captioned, quarantine)
    assert shard.add(1, none_tagged, rows(1)[1])
    store = open_store(str(tmp_path), StoreConfig())
    write_plan_shard(store, 0, [SourceObject(f"{n}.jpg", f"/{n}.jpg", None, 1) for n in range(2)])
    commit_tags(store, 0, read_plan_shard(store, 0), *shard.tables())
    stored = pq.read_table(tmp_path / "tags/shard-000000.parquet")
    assert stored.schema == tags_schema(captions=True)
    assert stored["caption"].to_pylist() == ["a cat"]


def test_the_first_result_of_a_chunk_is_kept() -> None:
    shard = ShardAssembly(num_chunks=2)
    shard.add(0, *rows(0))
    assert not shard.add(0, *rows(0, 2, 4))
    assert shard.begin(0) == Begin(done=True, num_tagged=1, num_quarantined=0)


def test_an_image_is_condemned_after_two_deaths_of_its_own() -> None:
    shard = ShardAssembly(num_chunks=1)
    assert shard.begin(0) == Begin()
    assert shard.begin(0) == Begin(one_by_one=True)
    condemned = []
    for at in (4, 6, 4, 6):  # a death at 6 in between may be a machine's
        shard.at(0, at)
        condemned.append(shard.begin(0).condemned)
    assert condemned == [frozenset(), frozenset(), frozenset({4}), frozenset({4, 6})]


def test_asking_ahead_blames_nobody_and_says_what_a_start_would() -> None:
    shard = ShardAssembly(num_chunks=1)
    assert shard.look(0) == Begin()
    assert [shard.look(0) for _ in range(4)] == [Begin(met_before=True)] * 4
    assert shard.begin(0) == Begin()
    assert shard.look(0) == Begin(one_by_one=True, met_before=True)
    shard.add(0, *rows(0, 1))
    assert shard.look(0) == Begin(done=True, num_tagged=1, num_quarantined=1)


def test_a_death_before_any_image_was_alone_condemns_nobody() -> None:
    shard = ShardAssembly(num_chunks=1)
    begins = [shard.begin(0) for _ in range(5)]
    assert begins == [Begin(), *[Begin(one_by_one=True)] * 4]


def test_finished_chunks_that_are_run_again_do_not_count_as_deaths() -> None:
    shard = ShardAssembly(num_chunks=2)
    shard.begin(0)
    shard.add(0, *rows(0))
    assert [shard.begin(0).done for _ in range(3)] == [True] * 3


def committer(folder: Path) -> Committer:
    store = open_store(str(folder), StoreConfig())
    objects = [SourceObject(f"{n}.jpg", f"/{n}.jpg", None, 1) for n in range(4)]
    write_plan_shard(store, 0, objects)
    return Committer(str(folder), StoreConfig(), commit_tags)


def test_a_whole_shard_is_committed_off_the_path_of_add(tmp_path: Path) -> None:
    async def scene() -> tuple[int, ...]:
        actor = committer(tmp_path)
        assert not (await actor.begin(0, 0, 2)).done
        await actor.add(0, 0, 2, *rows(0, 1))
        await actor.add(0, 0, 2, *rows(0, 1))
        await actor.add(0, 1, 2, *rows(2, 3))
        report = await actor.drain()
        assert (await actor.begin(0, 1, 2)).done
        return report.committed

    assert asyncio.run(scene()) == (0,)
    assert pq.read_table(tmp_path / "tags")["image_id"].to_pylist() == ["0.jpg", "2.jpg"]


def test_progress_counts_each_chunk_once_and_open_shards_until_drained(tmp_path: Path) -> None:
    async def scene() -> list[tuple[int, int]]:
        actor = committer(tmp_path)
        seen = []
        for chunk, ids in ((0, (0, 1)), (0, (0, 1)), (1, (2, 3))):
            await actor.add(0, chunk, 2, *rows(*ids))
            now = await actor.progress()
            seen.append((now.num_images, now.num_committed))
        await actor.add(1, 0, 2, *rows(8))
        now = await actor.progress()
        seen.append((now.num_images, now.num_committed))
        final = (await actor.drain()).progress
        return [*seen, (final.num_images, final.num_committed)]

    assert asyncio.run(scene()) == [(2, 0), (2, 0), (4, 0), (5, 0), (4, 1)]


def test_rows_that_break_conservation_are_reported_and_can_be_redone(tmp_path: Path) -> None:
    async def scene() -> tuple[tuple[str, ...], tuple[int, ...]]:
        actor = committer(tmp_path)
        await actor.add(0, 0, 1, *rows(0, 1, 2))
        failures = (await actor.drain()).failures
        await actor.add(0, 0, 1, *rows(0, 1, 2, 3))
        return failures, (await actor.drain()).committed

    failures, committed = asyncio.run(scene())
    assert committed == (0,)
    assert failures == (
        "Shard 0: 1 planned images are missing and 0 rows are doubled or foreign; not committed.",
    )


def test_remarks_are_counted_in_the_commit_and_stored_nowhere_else(tmp_path: Path) -> None:
    shard = ShardAssembly(num_chunks=2)
    tags, quarantine = rows(0)
    at = tags.schema.get_field_index(REMARKS.name)
    told = tags.set_column(at, REMARKS, [[["no_end_marker", "wide_grey_clipped"]]])
    assert not shard.add(0, told, quarantine)
    assert shard.add(1, *rows(1, 2))
    store = open_store(str(tmp_path), StoreConfig())
    write_plan_shard(store, 0, [SourceObject(f"{n}.jpg", f"/{n}.jpg", None, 1) for n in range(3)])
    commit = commit_tags(store, 0, read_plan_shard(store, 0), *shard.tables())
    assert commit.remarks == {"no_end_marker": 1, "wide_grey_clipped": 1}
    assert read_commit(store, 0) == commit
    assert pq.read_table(tmp_path / "tags/shard-000000.parquet").schema.equals(tags_schema())


def test_a_full_disk_stops_what_would_be_computed_for_nothing(tmp_path: Path) -> None:
    open_store(str(tmp_path), StoreConfig(), create=True)

    def full(*_: object) -> None:
        raise DiskFullError("The disk is full.")

    async def work() -> DrainReport:
        committer = Committer(str(tmp_path), StoreConfig(), full)
        assert not (await committer.begin(0, 0, 1)).done
        await committer.add(0, 0, 1, *rows(0, 1))
        report = await committer.drain()
        with pytest.raises(DiskFullError):
            await committer.begin(1, 0, 1)
        return report

    store = open_store(str(tmp_path), StoreConfig())
    write_plan_shard(store, 0, [SourceObject(f"{n}.jpg", f"/{n}.jpg", None, 1) for n in range(2)])
    report = asyncio.run(work())
    assert (report.committed, report.failures) == ((), ())
    assert isinstance(report.disk_full, DiskFullError)

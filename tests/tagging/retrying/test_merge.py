"""What a retry found takes the place of what was quarantined; no Ray, real files and S3."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray.config import StoreConfig
from ram_ray.runs.commits import (
    ConservationError,
    commit_shard,
    read_commit,
    read_commits,
    retried_shards,
)
from ram_ray.runs.plans import read_plan, read_plan_shard, write_plan
from ram_ray.storage.sources import NameFilter, SourceObject
from ram_ray.storage.stores import Store, open_store
from ram_ray.tagging.outputs.verification import verify_output
from ram_ray.tagging.retrying.merge import merge_retry, replace_rows
from ram_ray.tagging.retrying.retries import (
    Retry,
    begin_retry,
    finish_retry,
    quarantined_rows,
    source_object,
    unfinished_retry,
)
from ram_ray.tagging.tables import QUARANTINE, TAGS
from tests.conftest import S3Server

NUM_IMAGES, SHARD_ROWS = 9, 4
FAILED = {1: "fetch_timeout", 2: "empty", 5: "fetch_timeout", 8: "too_large"}
"""By number of the image; shard 0 holds 0 to 3, shard 1 holds 4 to 7, shard 2 holds 8."""


def key(number: int) -> dict[str, str]:
    return {"image_id": f"{number}.jpg", "uri": f"/in/{number}.jpg"}


def tagged(number: int, tag: str = "dog") -> dict[str, Any]:
    size = {"width": 4, "height": 3}
    return key(number) | size | {"tags": [tag], "tag_ids": [0], "scores": [0.5]}


def quarantined(number: int, code: str) -> dict[str, Any]:
    return key(number) | {"error_code": code, "message": "no", "attempts": 1, "size_bytes": 7}


def tables(rows: list[dict[str, Any]]) -> tuple[pa.Table, pa.Table]:
    good = [row for row in rows if "tags" in row]
    bad = [row for row in rows if "tags" not in row]
    return pa.Table.from_pylist(good, TAGS), pa.Table.from_pylist(bad, QUARANTINE)


def write_run(store: Store) -> int:
    """Write a finished run of three shards; return their number."""
    objects = [SourceObject(f"{n}.jpg", f"/in/{n}.jpg", None, 7) for n in range(NUM_IMAGES)]
    names = NameFilter((), ())
    plan = write_plan(store, objects, names, shard_rows=SHARD_ROWS, on_listed=lambda _: None)
    for shard in range(plan.shards):
        numbers = range(shard * SHARD_ROWS, min(NUM_IMAGES, (shard + 1) * SHARD_ROWS))
        rows = [quarantined(n, FAILED[n]) if n in FAILED else tagged(n) for n in numbers]
        commit_shard(store, shard, read_plan_shard(store, shard), *tables(rows))
    return plan.shards


def plan_retry(store: Store, config: StoreConfig, *codes: str, shards: int) -> tuple[Retry, Store]:
    """Begin a retry of these codes, with its own plan of two images per shard."""
    retry = begin_retry(store, codes, {}, 0)
    run = open_store(f"{store.url}/{retry.folder}/run", config, create=True)
    rows = [source_object(row) for row in quarantined_rows(store, retry, range(shards))]
    write_plan(run, rows, NameFilter(("*",), ()), shard_rows=2, on_listed=lambda _: None)
    return retry, run


def tag_all(run: Store, still_bad: dict[int, str]) -> int:
    """Commit a retry's run: every image tagged, but some; return its number of shards."""
    summary = read_plan(run)
    shards = summary.shards if summary else 0
    for shard in range(shards):
        plan = read_plan_shard(run, shard)
        numbers = [int(name[0]) for name in plan["image_id"].to_pylist()]
        rows = [quarantined(n, still_bad[n]) if n in still_bad else tagged(n) for n in numbers]
        commit_shard(run, shard, plan, *tables(rows))
    return shards


@pytest.fixture(params=["folder", "bucket"])
def place(request: pytest.FixtureRequest, tmp_path: Path, s3: S3Server) -> tuple[str, StoreConfig]:
    if request.param == "folder":
        return str(tmp_path / "out"), StoreConfig()
    bucket = f"merge-{abs(hash(request.node.name))}"
    return f"{s3.bucket(bucket, {})}/out", s3.config


def read_all(store: Store, folder: str) -> dict[str, dict[str, Any]]:
    rows = [
        row
        for key in sorted(store.list(folder))
        for row in pq.read_table(pa.BufferReader(store.read(key))).to_pylist()
    ]
    assert len({row["image_id"] for row in rows}) == len(rows)
    return {row["image_id"]: row for row in rows}


def test_new_rows_take_the_place_of_the_quarantined(place: tuple[str, StoreConfig]) -> None:
    store = open_store(*place, create=True)
    shards = write_run(store)
    untouched = read_commit(store, 2)
    retry, run = plan_retry(store, place[1], "fetch_timeout", shards=shards)
    run_shards = tag_all(run, still_bad={5: "corrupt"})
    told: list[None] = []
    merge_retry(
        store, run, retry, shards=shards, run_shards=run_shards,
        on_merged=lambda: told.append(None),
    )  # fmt: skip
    assert list(read_all(store, "tags")) == [f"{n}.jpg" for n in (0, 1, 3, 4, 6, 7)]
    codes = {name: row["error_code"] for name, row in read_all(store, "quarantine").items()}
    assert codes == {"2.jpg": "empty", "5.jpg": "corrupt", "8.jpg": "too_large"}
    assert (len(told), retried_shards(store)) == (2, {0: 1, 1: 1})
    first, _, last = read_commits(store, range(shards))
    assert (first.tagged, first.quarantined_by_code, last) == (3, {"empty": 1}, untouched)
    report = verify_output(*place)
    assert (report.ok, report.tagged, report.unfinished_retry) == (True, 6, 1)
    finish_retry(store, retry, {})
    assert verify_output(*place).unfinished_retry is None
    assert not list(store.list(f"{retry.folder}/staging"))


@pytest.mark.parametrize("dies_after", range(1, 10))
def test_a_merge_that_dies_anywhere_is_finished_by_the_next(
    tmp_path: Path, dies_after: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Every write, create and move of the merge is where a driver may die."""
    config = StoreConfig()
    store = open_store(str(tmp_path / "out"), config, create=True)
    shards = write_run(store)
    retry, run = plan_retry(store, config, "fetch_timeout", shards=shards)
    run_shards = tag_all(run, still_bad={})
    monkeypatch.setattr("ram_ray.tagging.retrying.merge.MERGERS", 1)
    left = dies_after

    class DeadError(Exception):
        pass

    def dying(method):
        def call(self: Store, *arguments: object) -> object:
            nonlocal left
            left -= 1
            if left == 0:
                raise DeadError
            return method(self, *arguments)

        return call

    with monkeypatch.context() as patch:
        for name in ("write", "create", "move"):
            patch.setattr(Store, name, dying(getattr(Store, name)))
        with pytest.raises(DeadError):
            merge_retry(
                store, run, retry, shards=shards, run_shards=run_shards, on_merged=lambda: None
            )
    found = unfinished_retry(store)
    assert found == replace(retry, decode={"wide_grey": "clip", "formats": []})  # as of 0.1.0
    merge_retry(store, run, retry, shards=shards, run_shards=run_shards, on_merged=lambda: None)
    finish_retry(store, retry, {})
    report = verify_output(str(tmp_path / "out"), config)
    assert (report.ok, report.tagged, report.quarantined) == (True, 7, 2)


def test_a_second_retry_starts_from_what_the_first_left(tmp_path: Path) -> None:
    config = StoreConfig()
    store = open_store(str(tmp_path / "out"), config, create=True)
    shards = write_run(store)
    for codes, still_bad, left in ((("fetch_timeout",), {5: "empty"}, 3), (("empty",), {}, 1)):
        retry, run = plan_retry(store, config, *codes, shards=shards)
        run_shards = tag_all(run, still_bad=still_bad)
        merge_retry(store, run, retry, shards=shards, run_shards=run_shards, on_merged=lambda: None)
        finish_retry(store, retry, {})
        assert verify_output(str(tmp_path / "out"), config).quarantined == left
    assert retried_shards(store) == {0: 2, 1: 2}
    assert retried_shards(store, before=2) == {0: 1, 1: 1}
    assert list(read_all(store, "quarantine")) == ["8.jpg"]


def test_rows_of_other_images_are_never_taken(tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "out"), StoreConfig(), create=True)
    write_run(store)
    with pytest.raises(ConservationError, match="1 rows are doubled or foreign"):
        replace_rows(store, read_commit(store, 0), [tagged(0)], 1)
    with pytest.raises(KeyError):
        replace_rows(store, read_commit(store, 0), [tagged(8)], 1)
    assert retried_shards(store) == {}


def test_a_size_that_the_retry_left_out_stays_as_listed(tmp_path: Path) -> None:
    config = StoreConfig()
    store = open_store(str(tmp_path / "out"), config, create=True)
    shards = write_run(store)
    retry, run = plan_retry(store, config, "too_large", shards=shards)
    assert read_plan_shard(run, 0)["size_bytes"].to_pylist() == [0]
    rows = [quarantined(8, "too_large") | {"size_bytes": 0}]
    commit_shard(run, 0, read_plan_shard(run, 0), *tables(rows))
    merge_retry(store, run, retry, shards=shards, run_shards=1, on_merged=lambda: None)
    assert read_all(store, "quarantine")["8.jpg"]["size_bytes"] == 7

"""New thresholds from kept scores."""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.runs.commits import commit_shard
from ram_ray.runs.plans import read_plan_shard, write_plan
from ram_ray.storage.sources import NameFilter, SourceObject
from ram_ray.storage.stores import open_store
from ram_ray.tagging.outputs.rethresholding import above, rethreshold
from ram_ray.tagging.record import RunRecord
from ram_ray.tagging.tables import QUARANTINE, TAGS

ROWS = [
    {"tags": ["dog", "cat|\\", "sky"], "tag_ids": [2, 0, 1], "scores": [0.9, 0.5, 0.1]},
    {"tags": [], "tag_ids": [], "scores": []},
    {"tags": ["cat|\\"], "tag_ids": [0], "scores": [0.7]},
]


def write_run(
    folder: Path,
    *,
    committed: bool = True,
    shards: int = 2,
    ids: Sequence[str] = ("0.jpg", "1.jpg", "2.jpg"),
    **changes: object,
) -> Path:
    """Write a run of shards of two images; `shards` of them are committed, or one."""
    store = open_store(str(folder), StoreConfig(), create=True)
    objects = [SourceObject(name, f"/in/{name}", None, 1) for name in ids]
    write_plan(store, objects, NameFilter((), ()), shard_rows=2, on_listed=lambda _: None)
    for shard in range(shards if committed else 1):
        plan = read_plan_shard(store, shard)
        rows = [
            {"image_id": name, "uri": f"/in/{name}", "width": 4, "height": 3}
            | ROWS[list(ids).index(name) % len(ROWS)]
            for name in plan["image_id"].to_pylist()
        ]
        table = pa.Table.from_pylist(rows, TAGS)
        commit_shard(store, shard, plan, table, QUARANTINE.empty_table())
    fields: dict[str, object] = {name: None for name in RunRecord.__dataclass_fields__}
    fields |= {"score_floor": 0.0, "top_k": None, "versions": {"ram-ray": "0"}} | changes
    store.write("run.json", json.dumps(asdict(RunRecord(**fields))).encode())  # pyright: ignore
    return folder


def scores(target: Path) -> list[list[float]]:
    files = sorted((target / "tags").iterdir())
    rows = pa.concat_tables([pq.read_table(file) for file in files]).to_pylist()
    return [[round(score, 3) for score in row["scores"]] for row in rows]


def test_tags_above_one_threshold_stay(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    report = rethreshold(str(run), str(tmp_path / "new"), 0.5)
    assert scores(tmp_path / "new") == [[0.9], [], [0.7]]  # 0.5 is not above 0.5
    assert (report.images, report.tags_before, report.tags_after) == (3, 4, 2)
    first = pq.read_table(tmp_path / "new/tags/shard-000000.parquet")
    assert first.schema.equals(TAGS)
    assert scores(run) == [[0.9, 0.5, 0.1], [], [0.7]]


def test_each_tag_has_its_threshold_and_a_second_call_replaces(tmp_path: Path) -> None:
    run = write_run(tmp_path / "run")
    rethreshold(str(run), str(tmp_path / "new"), 0.0)
    rethreshold(str(run), str(tmp_path / "new"), [0.6, 0.05, 1.0])
    assert scores(tmp_path / "new") == [[0.1], [], [0.7]]


@pytest.mark.parametrize(
    ("changes", "threshold", "message"),
    [
        ({"score_floor": None}, 0.5, "--score-floor 0"),
        ({"top_k": 3}, 0.5, "--top-k"),
        ({"score_floor": 0.3}, [0.5, 0.2, 0.5], r"thresholds\[1\] is 0.2"),
        ({}, 1.5, "between 0 and 1"),
        ({}, [0.5, 0.5], "tag with id 2"),
        ({"committed": False}, 0.5, "1 of 2 shards are not committed"),
    ],
)
def test_what_cannot_be_is_refused(
    tmp_path: Path, changes: dict, threshold: float | list[float], message: str
) -> None:
    run = write_run(tmp_path / "run", **changes)
    with pytest.raises(ConfigError, match=message):
        rethreshold(str(run), str(tmp_path / "new"), threshold)


def test_a_run_is_never_overwritten(tmp_path: Path) -> None:
    run, other = write_run(tmp_path / "run"), write_run(tmp_path / "other")
    for target in (run, other):
        with pytest.raises(ConfigError, match="holds a run"):
            rethreshold(str(run), str(target), 0.5)
    rethreshold(str(run), str(tmp_path / "new"), 0.5)
    with pytest.raises(ConfigError, match="another run"):
        rethreshold(str(other), str(tmp_path / "new"), 0.5)


def test_a_floor_of_float32_is_its_own_threshold() -> None:
    table = pa.Table.from_pylist(
        [{"image_id": "a", "uri": "a", "width": 1, "height": 1} | ROWS[0]], TAGS
    )
    kept = above(table, np.array([0.1], np.float32))
    assert kept["tag_ids"].to_pylist() == [[2, 0]]

"""Images and captions meet by name, whatever files they come from; nothing is lost silently."""

import io
import json
import tarfile
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray.config import StoreConfig
from ram_ray.data_engine.plan import disk_sort
from ram_ray.data_engine.plan.image_plan import (
    ImagePlan,
    fold_of,
    fold_of_shard,
    read_images,
    read_orphans,
    shard_of,
    write_image_plan,
)
from ram_ray.storage.pins import local_etag
from ram_ray.storage.reading import read_uri
from ram_ray.storage.stores import Store, open_store


def plan_of(
    tmp_path: Path,
    captions: str | None = None,
    shard_rows: int = 4,
    folds: int = 1,
    source: str = "in",
) -> tuple[ImagePlan, Store]:
    store = open_store(str(tmp_path / "out"), StoreConfig(), create=True)
    source = str(tmp_path / source)
    plan = write_image_plan(
        store, source, captions, StoreConfig(), shard_rows=shard_rows, folds=folds,
        on_planned=lambda rows: None,
    )  # fmt: skip
    return plan, store


def images_of(plan: ImagePlan, store: Store) -> dict[str, list[str]]:
    shards = [read_images(store, shard).to_pylist() for shard in range(plan.shards)]
    return {row["image_id"]: row["captions"] for rows in shards for row in rows}


def orphans_of(plan: ImagePlan, store: Store) -> dict[str, str]:
    shards = [read_orphans(store, shard).to_pylist() for shard in range(plan.shards)]
    return {row["image_id"]: row["message"] for rows in shards for row in rows}


def photos(tmp_path: Path, *names: str) -> Path:
    folder = tmp_path / "in"
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"jpeg of " + name.encode())
    return folder


def test_names_match_exactly_then_by_ending_then_by_stem(tmp_path: Path) -> None:
    folder = photos(tmp_path, "a/1.jpg", "b/1.jpg", "x/2.jpg", "000000000139.jpg", "5.png")
    rows = [
        {"image_id": "a/1.jpg", "caption": "exact"},
        {"image_id": "2", "caption": "stem"},
        {"image_id": "2.jpg", "caption": "ending"},
        {"image_id": 139, "caption": "number"},
        {"image_id": "1", "caption": "which one?"},
        {"image_id": "9.jpg", "caption": "gone"},
        {"image_id": "2", "caption": "stem"},
        {"caption": "of no image"},
    ]
    text = "\n".join(json.dumps(row) for row in rows)
    (folder / "captions.jsonl").write_text(text, encoding="utf-8")
    (folder / "notes.md").write_text("x", encoding="utf-8")
    plan, store = plan_of(tmp_path)
    assert images_of(plan, store) == {
        "a/1.jpg": ["exact"],
        "b/1.jpg": [],
        "x/2.jpg": ["stem", "ending"],
        "000000000139.jpg": ["number"],
        "5.png": [],
    }
    assert orphans_of(plan, store) == {
        "1": "2 images have this name: a/1.jpg, b/1.jpg",
        "9.jpg": "no image of this name is in the source",
    }
    counts = (plan.images, plan.captions, plan.without_captions, plan.orphans)
    assert counts == (5, 7, 2, 2)
    assert (plan.problems, plan.skipped) == (1, 1)


def test_tars_keep_their_pairs_apart(tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    for number in (0, 1):
        with tarfile.open(folder / f"part-{number}.tar", "w") as tar:
            for name, data in (
                ("7.jpg", f"pixels {number}".encode()),
                ("7.json", json.dumps({"captions": [f"of tar {number}"]}).encode()),
                ("8.jpg", b"more"),
                ("8.txt", b"a cat"),
            ):
                member = tarfile.TarInfo(name)
                member.size = len(data)
                tar.addfile(member, io.BytesIO(data))
    plan, store = plan_of(tmp_path)
    found = images_of(plan, store)
    assert found["part-0.tar/7.jpg"] == ["of tar 0"]
    assert found["part-1.tar/7.jpg"] == ["of tar 1"]
    assert found["part-1.tar/8.jpg"] == ["a cat"]
    shard = shard_of("part-1.tar/7.jpg", plan.shards)
    row = next(
        row
        for row in read_images(store, shard).to_pylist()
        if row["image_id"] == "part-1.tar/7.jpg"
    )
    assert read_uri(row["uri"], StoreConfig()) == b"pixels 1"
    assert row["etag"] == local_etag((folder / "part-1.tar").stat())


def test_captions_in_a_csv_beside_the_photos(tmp_path: Path) -> None:
    photos(tmp_path, "1.jpg", "2.jpg")
    table = tmp_path / "captions.csv"
    table.write_text('image,caption\n1.jpg,"a dog, wet"\n1.jpg,a dog\n2.jpg,\n', encoding="utf-8")
    plan, store = plan_of(tmp_path, str(table))
    assert images_of(plan, store) == {"1.jpg": ["a dog, wet", "a dog"], "2.jpg": []}
    assert plan.problems == 1


def test_shards_hold_what_the_hash_says_and_lie_in_one_fold(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(disk_sort, "RUN_ROWS", 7)
    monkeypatch.setattr(disk_sort, "READ_ROWS", 2)
    names = [f"{number}.jpg" for number in range(50)]
    folder = photos(tmp_path, *names)
    lines = [json.dumps({"image_id": name, "caption": f"of {name}"}) for name in names]
    (folder / "c.jsonl").write_text("\n".join(lines), encoding="utf-8")
    plan, store = plan_of(tmp_path, shard_rows=8, folds=3)
    assert plan.shards == 9
    assert images_of(plan, store) == {name: [f"of {name}"] for name in names}
    for shard in range(plan.shards):
        for image_id in read_images(store, shard)["image_id"].to_pylist():
            assert shard_of(image_id, plan.shards) == shard
            assert fold_of(image_id, 3) == fold_of_shard(shard, plan.shards, 3)


@pytest.mark.parametrize("name", ["images.csv", "images.parquet"])
def test_a_list_and_a_table_are_sources_of_images(tmp_path: Path, name: str) -> None:
    photos(tmp_path, "a.jpg", "b.jpg")
    (tmp_path / "images.csv").write_text("uri,n\nin/a.jpg,1\nin/b.jpg,2\n")
    table = pa.table({"key": ["in/a.jpg", "in/b.jpg"], "jpg": [b"1", b"2"]})
    pq.write_table(table, tmp_path / "images.parquet")
    captions = tmp_path / "captions.csv"
    captions.write_text("file_name,caption\nin/a.jpg,A cat\nin/b.jpg,A dog\n")
    plan, store = plan_of(tmp_path, str(captions), source=name)
    assert images_of(plan, store) == {"in/a.jpg": ["A cat"], "in/b.jpg": ["A dog"]}

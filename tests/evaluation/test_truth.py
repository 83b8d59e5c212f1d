import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray.errors import ConfigError
from ram_ray.evaluation.truth import Truth, read_truth


def as_dict(truth: Truth) -> dict[str, dict[str, int]]:
    return {
        image_id: dict(zip(truth.names, row.tolist(), strict=True))
        for image_id, row in zip(truth.image_ids, truth.labels, strict=True)
    }


ROWS = [
    {"image_id": "a.jpg", "present": ["cat"], "absent": ["dog"]},
    {"image_id": "b.jpg", "present": []},
]


def test_rows_of_jsonl_and_parquet(tmp_path: Path) -> None:
    (tmp_path / "t.jsonl").write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    table = pa.Table.from_pylist([r | {"absent": r.get("absent", [])} for r in ROWS])
    pq.write_table(table, tmp_path / "t.parquet")
    for name in ("t.jsonl", "t.parquet"):
        found = as_dict(read_truth(tmp_path / name))
        assert found == {"a.jpg": {"cat": 1, "dog": 0}, "b.jpg": {"cat": 0, "dog": 0}}
    unsure = as_dict(read_truth(tmp_path / "t.jsonl", unlisted="unverified"))
    assert unsure["b.jpg"] == {"cat": -1, "dog": -1}


def test_coco_searched_every_image_for_every_category(tmp_path: Path) -> None:
    instances = {
        "images": [{"id": 7, "file_name": "x.jpg"}, {"id": 8, "file_name": "y.jpg"}],
        "categories": [{"id": 1, "name": "cat"}, {"id": 3, "name": "kite"}],
        "annotations": [{"image_id": 8, "category_id": 1}] * 2,
    }
    (tmp_path / "instances.json").write_text(json.dumps(instances))
    found = as_dict(read_truth(tmp_path / "instances.json"))
    assert found == {"x.jpg": {"cat": 0, "kite": 0}, "y.jpg": {"cat": 1, "kite": 0}}


def test_openimages_says_yes_no_and_nothing(tmp_path: Path) -> None:
    (tmp_path / "class-descriptions.csv").write_text('/m/1,Cat\n/m/2,"Dog, small"\n')
    (tmp_path / "labels.csv").write_text(
        "ImageID,Source,LabelName,Confidence\ni1,verification,/m/1,1\ni2,verification,/m/1,0\n"
        "i2,verification,/m/2,1\n"
    )
    found = as_dict(read_truth(tmp_path / "labels.csv"))
    assert found == {"i1": {"Cat": 1, "Dog, small": -1}, "i2": {"Cat": 0, "Dog, small": 1}}


def test_voc_leaves_difficult_objects_open(tmp_path: Path) -> None:
    (tmp_path / "cat_val.txt").write_text("0001  1\n0002 -1\n0003  0\n")
    (tmp_path / "potted plant_val.txt").write_text("0001 -1\n")
    found = as_dict(read_truth(tmp_path))
    assert [found[i]["cat"] for i in ("0001", "0002", "0003")] == [1, 0, -1]
    assert found["0002"]["potted plant"] == -1


def test_lines_of_the_ram_papers(tmp_path: Path) -> None:
    (tmp_path / "annots.txt").write_text("test/1.jpg,plane, apple\ntest/2.jpg\n")
    found = as_dict(read_truth(tmp_path / "annots.txt"))
    assert found["test/1.jpg"] == {"apple": 1, "plane": 1}
    assert found["test/2.jpg"] == {"apple": 0, "plane": 0}


@pytest.mark.parametrize(
    ("name", "content", "complaint"),
    [
        ("t.jsonl", '{"image_id": "a", "present": []}\n{oops\n', "line 2"),
        ("t.jsonl", '{"present": ["cat"]}\n', "line 1: a row needs image_id"),
        ("t.jsonl", '{"image_id": "a", "present": "cat"}\n', "needs the list present"),
        ("t.jsonl", '{"image_id": "a", "present": ["c"], "absent": ["c"]}', "show and not to show"),
        ("t.jsonl", "\n", "name no image"),
        ("t.json", '{"images": []}', "no COCO instances file"),
        ("t.csv", "ImageID,LabelName,Confidence\na,/m/1,x\n", "line 2"),
        ("t.jpeg", "x", "layout is missing"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: str, complaint: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=complaint):
        read_truth(tmp_path / name)

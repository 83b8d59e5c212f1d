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
        ("t.jsonl", '{"image_id": "a", "present": "cat"}\n', "must be a list of names"),
        ("t.jsonl", '{"image_id": "a", "present": ["c"], "absent": ["c"]}', "show and not to show"),
        ("t.jsonl", "\n", "name no image"),
        ("t.json", '{"images": []}', "no COCO instances file"),
        ("t.json", "[]", "no COCO instances file"),
        ("t.csv", "ImageID,LabelName,Confidence\na,/m/1,x\n", "line 2"),
        ("t.csv", "ImageID,LabelName,Confidence\na,/m/1,0.7\n", "labels of a machine"),
        ("t.csv", "path,tag\na,cat\n", "line 2: needs ImageID, LabelName, Confidence"),
        ("t.txt", "cat\ndog\n", "names no tag: a line must be"),
        ("hico_annots.txt", "a.jpg,3 17\n", "tags by number: name their list with --tag-list"),
        ("t.jpeg", "x", "layout is missing"),
    ],
)
def test_what_cannot_be_read_is_named(
    tmp_path: Path, name: str, content: str, complaint: str
) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(ConfigError, match=complaint):
        read_truth(tmp_path / name)


def test_labels_of_one_name_meet_in_one_tag_later(tmp_path: Path) -> None:
    """OpenImages calls two labels by one name now and then: an image may show one of them."""
    (tmp_path / "oidv7-class-descriptions.csv").write_text(
        "LabelName,DisplayName\n/m/1,Orange\n/m/2,Orange\n"
    )
    (tmp_path / "labels.csv").write_text(
        "ImageID,Source,LabelName,Confidence\ni1,verification,/m/1,1\ni1,verification,/m/2,0\n"
    )
    truth = read_truth(tmp_path / "labels.csv")
    assert truth.names == ("Orange", "Orange")
    assert truth.labels.tolist() == [[1, 0]]


def write_lists(folder: Path, stem: str, annots: str, tags: str) -> Path:
    kind = ("idannots", "tagidlist") if tags[:1].isdigit() else ("annots", "taglist")
    (folder / f"{stem}_{kind[1]}.txt").write_text(tags)
    path = folder / f"{stem}_{kind[0]}.txt"
    path.write_text(annots)
    return path


def test_numbers_stand_for_the_lines_of_the_list_beside(tmp_path: Path) -> None:
    annots = "HICO_test2015_00000001.jpg,2\nHICO_test2015_00000002.jpg,0 1\nx.JPEG\n"
    path = write_lists(tmp_path, "hico_3", annots, "person ride horse\nmissile\nmissile\n")
    truth = read_truth(path)
    assert truth.image_ids == (
        "HICO_test2015_00000001.jpg", "HICO_test2015_00000002.jpg", "x.JPEG"
    )  # fmt: skip
    assert truth.names == ("missile", "missile", "person ride horse")
    assert truth.labels.tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0]]


def test_a_class_that_no_line_names_is_still_a_class(tmp_path: Path) -> None:
    path = write_lists(tmp_path, "oi_3", "test/0a,cat\ntest/0b\n", "cat\ndog\nsea\n")
    truth = read_truth(path)
    assert truth.names == ("cat", "dog", "sea")
    assert truth.labels.tolist() == [[1, 0, 0], [0, 0, 0]]


def test_ids_of_a_vocabulary_are_names_that_it_finds(tmp_path: Path) -> None:
    path = write_lists(tmp_path, "oi_tag2text", "test/0a,7\ntest/0b,3,7\n", "3\n7\n")
    truth = read_truth(path)
    assert truth.names == ("#3", "#7")
    assert truth.labels.tolist() == [[0, 1], [1, 1]]


@pytest.mark.parametrize(
    ("annots", "tags", "complaint"),
    [
        ("a.jpg,0\nb.jpg,3\n", "x\ny\nz\n", r"line 2: there is no tag 3 among the 3 of .*taglist"),
        ("a.jpg,x\nb.jpg,w\n", "x\ny\n", r"line 2: 'w' is not in the tag list .*taglist"),
        ("a.jpg,x\n", "x\n\ny\n", "one tag a line, but line 2 is empty"),
    ],
)
def test_lines_and_their_list_must_agree(
    tmp_path: Path, annots: str, tags: str, complaint: str
) -> None:
    path = write_lists(tmp_path, "set", annots, tags)
    with pytest.raises(ConfigError, match=complaint):
        read_truth(path)


def test_a_list_may_be_given_for_lines_only(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("a.jpg,1\n")
    (tmp_path / "tags.txt").write_text("cat\ndog\n")
    assert read_truth(tmp_path / "a.txt", tag_list=tmp_path / "tags.txt").names == ("cat", "dog")
    (tmp_path / "t.jsonl").write_text('{"image_id": "a", "present": []}')
    with pytest.raises(ConfigError, match="tag_list is for layout lines, but the labels are jsonl"):
        read_truth(tmp_path / "t.jsonl", tag_list=tmp_path / "tags.txt")
    with pytest.raises(ConfigError, match="cannot be read"):
        read_truth(tmp_path / "a.txt", tag_list=tmp_path / "gone.txt")


def test_a_voc_folder_is_found_below_its_root(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"holds no CLASS_SPLIT\.txt file"):
        read_truth(tmp_path)
    sets = tmp_path / "ImageSets" / "Main"
    sets.mkdir(parents=True)
    (sets / "dog_val.txt").write_text("2008_000008  1\n")
    (sets / "val.txt").write_text("2008_000008\n")  # a list of images, no class
    assert as_dict(read_truth(tmp_path)) == {"2008_000008": {"dog": 1}}

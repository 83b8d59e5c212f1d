"""Rows that say nothing are refused by their line, through training's door and evaluation's."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_model.vocabulary import Vocabulary
from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.evaluation.truth import read_truth
from ram_ray.labels.label_rows import label_row
from ram_ray.training.data.labels import LabelledSamples, label_samples
from ram_ray.training.data.samples import PLACES

VOCABULARY = Vocabulary(names=("dog", "people", "grass"), thresholds=np.full(3, 0.5))

REFUSED = [
    ({"tags": "people, grass"}, r"line 1: tags is 'people, grass', but must be a list"),
    ({"tags": "people"}, r"write \['people'\] for one tag"),
    ({"labels": 1}, "labels is 1, but must be a list"),
    ({"label": 1}, "label is 1, but must be the name of one tag"),
    ({"labels": [0, 1, 0, 0, 1]}, "zeros and ones"),
    ({"tags": [True]}, "holds True, which is no tag"),
    ({"tags": [["dog"]]}, "which is no tag"),
    ({"weather": "fine"}, "says nothing of a.jpg: it needs one of .* it has image_id, weather"),
    ({"tags": None}, "says nothing of a.jpg"),
    ({"tags": ["dog"], "captions": 3}, "captions is 3, but must be a list of texts"),
    ({"tags": ["dog"], "scores": [True]}, "scores must be 1 numbers"),
]


def write(folder: Path, *rows: dict[str, Any], encoding: str = "utf-8") -> str:
    lines = "".join(json.dumps({"image_id": "a.jpg"} | row) + "\n" for row in rows)
    (folder / "labels.jsonl").write_text(lines, encoding=encoding)
    return str(folder / "labels.jsonl")


def train_on(labels: str) -> LabelledSamples:
    rows = [{"image_id": "a.jpg", "uri": "x", "kind": "file", "offset": 0, "size": 1}]
    places = pa.Table.from_pylist(rows, PLACES)
    return label_samples(places, VOCABULARY, labels=labels, captions=None, store=StoreConfig())


@pytest.mark.parametrize(("row", "message"), REFUSED)
def test_a_row_that_would_be_guessed_at_is_refused(
    tmp_path: Path, row: dict[str, Any], message: str
) -> None:
    labels = write(tmp_path, row)
    with pytest.raises(ConfigError, match=message):
        train_on(labels)
    with pytest.raises(ConfigError, match=message):
        read_truth(labels)


@pytest.mark.parametrize(
    "row",
    [
        {"tags": ["people ", " GRASS"]},
        {"present": ["people", "grass"]},
        {"union_label_id": [1, 2]},
        {"Tags": ["people", "grass"], "extra": 1},
    ],
)
def test_what_a_row_says_is_trimmed_and_found(tmp_path: Path, row: dict[str, Any]) -> None:
    (sample,) = train_on(write(tmp_path, row)).samples.to_pylist()
    assert sample["tag_ids"] == [1, 2]


def test_the_single_label_form_is_one_tag(tmp_path: Path) -> None:
    labels = write(tmp_path, {"label": " people"})
    (sample,) = train_on(labels).samples.to_pylist()
    assert sample["tag_ids"] == [1]
    assert read_truth(labels).names == ("people",)


def test_names_outside_the_vocabulary_are_counted_and_told(tmp_path: Path) -> None:
    labelled = train_on(write(tmp_path, {"tags": ["dog", "yeti"]}, {"tags": ["yeti"]}))
    assert labelled.remarks == ("2 labels name tags outside the vocabulary, such as 'yeti'.",)


def test_labels_of_no_image_are_counted_and_told(tmp_path: Path) -> None:
    rows = ({"tags": ["dog"]}, {"image_id": "gone.jpg", "tags": ["dog"]})
    labelled = train_on(write(tmp_path, *rows))
    assert labelled.remarks == ("1 labels or captions fit no image, such as 'gone.jpg'.",)


def test_a_set_that_names_no_tag_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="name no tag of the vocabulary; they name 'yeti'"):
        train_on(write(tmp_path, {"tags": ["yeti"]}))


@pytest.mark.parametrize(("encoding", "ok"), [("utf-8-sig", True), ("utf-16", False)])
def test_byte_order_marks(tmp_path: Path, encoding: str, ok: bool) -> None:
    labels = write(tmp_path, {"tags": ["dog"]}, encoding=encoding)
    if ok:
        assert train_on(labels).samples["tag_ids"].to_pylist() == [[0]]
        assert read_truth(labels).names == ("dog",)
        return
    for read in (train_on, read_truth):
        with pytest.raises(ConfigError, match="is UTF-16 text; save it as UTF-8"):
            read(labels)


def test_a_line_separator_stands_inside_a_text(tmp_path: Path) -> None:
    text = '{"image_id": "a.jpg", "tags": ["dog"], "captions": ["a dog\u2028on grass"]}\n'
    (tmp_path / "labels.jsonl").write_text(text, encoding="utf-8")
    (sample,) = train_on(str(tmp_path / "labels.jsonl")).samples.to_pylist()
    assert sample["captions"] == ["a dog\u2028on grass"]


def test_parquet_rows_are_counted_from_0(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"image_id": ["a", "b"], "tags": ["dog", "cat"]}), tmp_path / "l.parquet"
    )
    with pytest.raises(ConfigError, match=r"l\.parquet, row 0: tags is 'dog'"):
        train_on(str(tmp_path / "l.parquet"))


def test_a_row_may_name_its_image_as_caption_files_do() -> None:
    row = {"file_name": "x/1.jpg", "label": "dog"}
    assert label_row(row, "here").image_id == "x/1.jpg"
    with pytest.raises(ConfigError, match="here: a row needs image_id"):
        label_row({"label": "dog"}, "here")

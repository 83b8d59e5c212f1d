"""Labels meet samples: names, ids, scores, unknown tags, captions."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ram_model.vocabulary import Vocabulary
from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.training.data.labels import label_samples
from ram_ray.training.data.samples import PLACES

VOCABULARY = Vocabulary(names=("dog", "cat", "tree", "dog"), thresholds=np.full(4, 0.5))


def places(*image_ids: str) -> pa.Table:
    rows = [{"image_id": i, "uri": "x", "kind": "file", "offset": 0, "size": 1} for i in image_ids]
    return pa.Table.from_pylist(rows, PLACES)


def labelled(folder: Path, rows: list[dict[str, Any]], *image_ids: str) -> tuple[pa.Table, int]:
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    url = str(folder / "labels.jsonl")
    found = places(*image_ids)
    labelled = label_samples(found, VOCABULARY, labels=url, captions=None, store=StoreConfig())
    return labelled.samples, labelled.num_unlabelled


def test_names_ids_scores_and_unknown_tags(tmp_path: Path) -> None:
    rows = [
        {"image_id": "a/1.jpg", "tags": ["dog", "yeti"]},
        {"image_id": "2.jpg", "tag_ids": [2], "scores": [0.25], "unknown": ["cat"]},
        {"image_id": "3", "present": ["cat"], "absent": ["tree"]},
    ]
    samples, unlabelled = labelled(tmp_path, rows, "a/1.jpg", "b/2.jpg", "c/3.png", "4.jpg")
    assert unlabelled == 1
    assert samples["tag_ids"].to_pylist() == [[0, 3], [2], [1]]
    assert samples["scores"].to_pylist() == [[1, 1], [0.25], [1]]
    assert samples["unknown"].to_pylist() == [[], [1], [0, 3]]


def test_captions_give_tags_and_texts(tmp_path: Path) -> None:
    (tmp_path / "c.jsonl").write_text(
        '{"image_id": "1.jpg", "captions": ["Two dogs .", "A cat ."]}'
    )
    path = str(tmp_path / "c.jsonl")
    labelled = label_samples(
        places("1.jpg"), VOCABULARY, labels=None, captions=path, store=StoreConfig()
    )
    (row,) = labelled.samples.to_pylist()
    assert set(row["tag_ids"]) >= {0, 1}
    assert row["captions"] == ["Two dogs .", "A cat ."]
    assert 1 in row["caption_tags"][1]
    assert 1 not in row["caption_tags"][0]


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"image_id": "1.jpg", "tag_ids": [4]}, "4 is no tag; ids go from 0 to 3"),
        ({"image_id": "1.jpg", "tag_ids": [1], "scores": [2]}, "1 numbers between 0 and 1"),
        ({"tags": ["dog"]}, "needs image_id"),
        ({"image_id": "9.jpg", "tags": ["dog"]}, "No label fits an image: .*9.jpg.*1.jpg"),
    ],
)
def test_rows_that_cannot_be_are_named(tmp_path: Path, row: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        labelled(tmp_path, [row], "1.jpg")

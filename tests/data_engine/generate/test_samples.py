"""Captions of one image are read together: writers' own in `parse`, the model's in `generate`."""

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from ram_model.vocabulary import Vocabulary
from ram_ray.config import StoreConfig
from ram_ray.data_engine.generate import samples
from ram_ray.data_engine.generate.samples import Beside, read_beside, read_sample
from ram_ray.data_engine.parse import ParseImages
from ram_ray.labels.parser.caption_parser import CaptionParser

NAMES = ("bear", "teddy bear", "bicycle", "motorcycle")
PARSER = CaptionParser(
    Vocabulary(names=NAMES, thresholds=np.full(4, 0.5, np.float32), kinds=("object",) * len(NAMES)),
    widen=True,
)


def names(rows: list[list[int]]) -> list[set[str]]:
    return [{NAMES[tag_id] for tag_id in row} for row in rows]


def test_a_generated_caption_is_read_beside_the_image_s_own() -> None:
    generated = ["a bear on a bed", "a bike", None]
    own = [["a teddy bear", "a bed"], [], ["a motorcycle"]]
    assert names(read_beside(PARSER, generated, own)) == [set(), {"bicycle"}, set()]
    assert names(read_beside(PARSER, generated, [[], [], []]))[0] == {"bear"}


@pytest.mark.parametrize(("beside", "written"), [("first", {"bear"}), ("all", set())])
def test_thresholds_read_it_beside_the_first_caption_only(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, beside: Beside, written: set[str]
) -> None:
    """The second caption witnesses about the generated tags; it must not have chosen them."""
    tables = {
        "scores": [
            {"image_id": "a", "tag_ids": [0], "scores": [0.5], "caption": "a bear on a bed"}
        ],
        "mentions": [
            {"image_id": "a", "tag_id": 2, "captions": [0]},
            {"image_id": "a", "tag_id": 1, "captions": [1]},
        ],
    }
    plan = pa.table({"image_id": ["a"], "captions": [["a bicycle", "a teddy bear"]]})

    def read_table(store: Any, table: str, shard: int) -> pa.Table:
        return pa.Table.from_pylist(tables[table])

    monkeypatch.setattr(samples, "read_table", read_table)
    monkeypatch.setattr(samples, "read_images", lambda store, shard, columns: plan)
    url = str(tmp_path)
    sample = read_sample(StoreConfig(), url, url, url, 0, PARSER, num_tags=4, beside=beside)
    assert {NAMES[tag_id] for tag_id in np.flatnonzero(sample.written[0])} == written
    assert sample.first.tolist() == [[False, False, True, False]]
    assert sample.agreement.tolist() == [[0, 1, 0, 0]]


def test_parse_reads_the_captions_of_an_image_together() -> None:
    step = ParseImages.__new__(ParseImages)
    step._parser = PARSER  # the parser alone: no run is needed to parse
    images = [
        {"image_id": "a", "captions": ["a bear on a bed", "a teddy bear"]},
        {"image_id": "b", "captions": ["a bear in a river"]},
    ]
    found = step._parse(images, Counter())
    assert {(row["image_id"], NAMES[row["tag_id"]]) for row in found} == {
        ("a", "teddy bear"),
        ("b", "bear"),
    }

"""The parser on real captions: what its benchmark promises, as floors."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from ram_ray.labels.parser.caption_parser import CaptionParser
from ram_ray.labels.vocabulary_files import read_vocabulary

ROOT = Path(__file__).parents[2]


def measure(*arguments: object) -> dict:
    command = [sys.executable, "benchmarks/caption_parsing.py", "--rounds", "1"]
    command += [str(argument) for argument in arguments]
    return json.loads(subprocess.run(command, cwd=ROOT, check=True, capture_output=True).stdout)


@pytest.mark.shared
@pytest.mark.slow
def test_coco_object_labels(shared: Path) -> None:
    captions = shared / "data/captions/coco_val2017_even.jsonl"
    lvis = shared / "data/labels/lvis_v0_5_categories.json"
    found = measure("--captions", captions, "--per-image", 5, "--synonyms", lvis)
    assert found["precision"] >= 0.88
    assert found["recall"] >= 0.60
    assert found["without_person"]["precision"] >= 0.87
    assert found["without_person"]["recall"] >= 0.53
    assert found["macro_recall"] >= 0.62
    assert len(found["per_class"]) == 80


@pytest.mark.shared
@pytest.mark.slow
def test_labelled_captions_with_rams_list(shared: Path) -> None:
    names = shared / "data/labels/ram/ram_tag_list.txt"
    labelled = "benchmarks/data/labelled_captions.jsonl"
    found = measure("--captions", labelled, "--vocabulary", names, "--half", "test")
    for kind, precision, recall in (
        ("thing", 0.90, 0.85),
        ("attribute", 0.85, 0.75),
        ("action", 0.85, 0.75),
    ):
        assert found["per_class"][kind]["precision"] >= precision
        assert found["per_class"][kind]["recall"] >= recall
    assert found["absent_right"] >= 0.95


@pytest.mark.shared
def test_rams_list_is_a_vocabulary(shared: Path) -> None:
    vocabulary = read_vocabulary(shared / "data/labels/ram/ram_tag_list.txt")
    parser = CaptionParser(vocabulary)
    row = parser.parse(["Two children play badminton beside a fire truck"]).to_pylist()[0]
    assert row["tags"] == ["child", "play", "play badminton", "badminton", "fire truck"]
    assert [vocabulary.names[tag_id] for tag_id in row["tag_ids"]] == row["tags"]

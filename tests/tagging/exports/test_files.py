"""One file of a run, as other tools read it."""

import csv
import json
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from ram_ray.errors import ConfigError
from ram_ray.tagging.exports.pipeline import export
from ram_ray.tagging.tables import TAGS
from tests.tagging.outputs.test_rethresholding import write_run


@pytest.fixture
def run(tmp_path: Path) -> Path:
    return write_run(tmp_path / "run")


def test_parquet_holds_the_run_s_columns(run: Path, tmp_path: Path) -> None:
    assert export(str(run), tmp_path / "all.parquet").images == 3
    table = pq.read_table(tmp_path / "all.parquet")
    assert table.schema.equals(TAGS)
    assert table["image_id"].to_pylist() == ["0.jpg", "1.jpg", "2.jpg"]


def test_jsonl_has_an_object_per_image(run: Path, tmp_path: Path) -> None:
    export(str(run), tmp_path / "all.jsonl")
    rows = [json.loads(line) for line in (tmp_path / "all.jsonl").read_text().splitlines()]
    assert rows[0]["tags"] == ["dog", "cat|\\", "sky"]
    assert rows[0]["scores"] == [0.9, 0.5, 0.1]
    assert rows[1]["tags"] == []


def test_csv_joins_lists_and_marks_the_separator_in_names(run: Path, tmp_path: Path) -> None:
    export(str(run), tmp_path / "all.csv")
    with (tmp_path / "all.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert rows[0]["tags"] == "dog|cat\\|\\\\|sky"
    assert rows[0]["scores"] == "0.9|0.5|0.1"
    assert (rows[1]["image_id"], rows[1]["tags"]) == ("1.jpg", "")


@pytest.mark.parametrize(
    ("name", "message"), [("all.xml", "must end in"), ("no/all.csv", "folder does not exist")]
)
def test_other_files_are_refused(run: Path, tmp_path: Path, name: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        export(str(run), tmp_path / name)


def test_a_failed_export_leaves_the_old_file(run: Path, tmp_path: Path) -> None:
    (tmp_path / "all.csv").write_text("old")
    (run / "tags/shard-000001.parquet").write_bytes(b"changed")
    with pytest.raises(Exception, match="not the file that was committed"):
        export(str(run), tmp_path / "all.csv")
    assert (tmp_path / "all.csv").read_text() == "old"
    assert {path.name for path in tmp_path.iterdir()} == {"run", "all.csv"}

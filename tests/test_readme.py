"""What the README promises is true: its queries run, its exit codes and links exist."""

import re
from pathlib import Path

import duckdb
import pandas
import polars
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray import exit_codes
from ram_ray.tagging.tables import TAGS

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def readme():
    return (ROOT / "README.md").read_text(encoding="utf-8")


@pytest.fixture
def tags_out(tmp_path, monkeypatch):
    rows = [
        {"image_id": name, "uri": name, "width": 1, "height": 1, "tags": tags,
         "tag_ids": list(range(len(tags))), "scores": [0.5] * len(tags)}
        for name, tags in [("a", ["cat", "sofa"]), ("b", ["cat"]), ("c", [])]
    ]  # fmt: skip
    (tmp_path / "tags-out" / "tags").mkdir(parents=True)
    table = pa.Table.from_pylist(rows, TAGS)
    pq.write_table(table, tmp_path / "tags-out" / "tags" / "shard-000000.parquet")
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("tags_out")
def test_the_duckdb_query_runs(readme):
    (query,) = re.findall(r"```sql\n(.*?)```", readme, re.DOTALL)
    assert duckdb.connect().execute(query).fetchall() == [("cat", 2), ("sofa", 1)]


@pytest.mark.usefixtures("tags_out")
def test_the_pandas_and_polars_lines_run(readme):
    block = next(b for b in re.findall(r"```python\n(.*?)```", readme, re.DOTALL) if "polars" in b)
    load, pandas_line, polars_line = block.splitlines()
    names = {"pandas": pandas, "polars": polars}
    exec(load, names)
    rows = eval(pandas_line, names)
    assert list(rows["tags"]) == ["cat", "sofa", "cat"]
    assert list(rows.nlargest(1, "scores")["image_id"]) == ["a"]
    tags = list(eval(polars_line, names)["tags"])
    assert [tag for tag in tags if tag is not None] == ["cat", "sofa", "cat"]


def test_exit_codes_are_told_in_one_place():
    pages = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
    tables = [page.name for page in pages if "| exit code |" in page.read_text(encoding="utf-8")]
    assert tables == ["runs.md"]
    told = (ROOT / "docs" / "runs.md").read_text(encoding="utf-8")
    codes = {int(code) for code in re.findall(r"^\| (\d+) \|", told, re.MULTILINE)}
    assert codes == {
        exit_codes.DONE, exit_codes.FAILED_CHECK, exit_codes.INTERRUPTED,
        exit_codes.WRONG_USAGE, exit_codes.TOO_MANY_QUARANTINED, exit_codes.INCOMPLETE,
        exit_codes.UNREACHABLE,
    }  # fmt: skip


def test_readme_is_one_page(readme):
    assert len(readme.splitlines()) <= 150


def test_links_lead_somewhere(readme):
    targets = [t for t in re.findall(r"\]\(([^)]+)\)", readme) if "://" not in t]
    assert len(targets) > 3
    assert [target for target in targets if not leads_somewhere(*target.split("#"))] == []


def leads_somewhere(file: str, heading: str = "") -> bool:
    """Say whether a file exists, and has the heading that a link names as GitHub spells it."""
    path = ROOT / file
    if not heading or not path.exists():
        return path.exists()
    titles = re.findall(r"^#+ (.+)$", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return heading in {re.sub(r"[^\w -]", "", t.lower()).replace(" ", "-") for t in titles}

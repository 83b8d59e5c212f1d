"""One table in one file: Parquet, JSON lines, CSV."""

import csv
import json
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from ram_ray.tagging.exports.rows import ExportReport, FinishedRun, whole_file

SEPARATOR = "|"
"""Between the tags of an image in a CSV field; a backslash before one that is part of a name."""


def write_parquet(run: FinishedRun, path: Path) -> ExportReport:
    """Write the run's columns, all shards in one file."""
    count = 0
    with whole_file(path) as part, pq.ParquetWriter(part, run.schema, compression="zstd") as writer:
        for table in run.tables():
            writer.write_table(table)
            count += table.num_rows
    return ExportReport(images=count)


def write_jsonl(run: FinishedRun, path: Path) -> ExportReport:
    """Write an object per image."""
    count = 0
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        for row in run.rows():
            file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += 1
    return ExportReport(images=count)


def write_csv(run: FinishedRun, path: Path) -> ExportReport:
    """Write a line per image; `tags`, `tag_ids` and `scores` are joined by SEPARATOR."""
    count = 0
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, run.schema.names)
        writer.writeheader()
        for row in run.rows():
            writer.writerow({name: _csv_field(value) for name, value in row.items()})
            count += 1
    return ExportReport(images=count)


def _csv_field(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    names = (str(one).replace("\\", "\\\\").replace(SEPARATOR, "\\" + SEPARATOR) for one in value)
    return SEPARATOR.join(names)

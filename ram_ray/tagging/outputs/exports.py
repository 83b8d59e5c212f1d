"""One file of a whole run, in the format that other tools read.

export("run", "tags.csv")
"""

import csv
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.storage.stores import open_store
from ram_ray.tagging.outputs.published_rows import published_tags, read_finished_run
from ram_ray.tagging.tables import tags_schema

SEPARATOR = "|"
"""Between the tags of an image in a CSV field; a backslash before one that is part of a name."""

Tables = Iterator[pa.Table]


def export(output: str, path: str | Path, store: StoreConfig | None = None) -> int:
    """Write the tags of a finished run into one local file; return the number of images.

    The suffix tells the format: .parquet (the run's columns), .jsonl (an object per image), .csv
    (tags and scores joined by "|"), .json (COCO's `images`, `categories` and `annotations`, one per
    tag, with its `score` and without a box). Memory is bounded by a shard, for .json by the images.
    The file appears when it is whole; one that exists is replaced.

    Raises:
        ConfigError: no such format, no folder for the file, no finished run.
    """
    path = Path(path)
    write = WRITERS.get(path.suffix.lower())
    if write is None:
        known = ", ".join(WRITERS)
        raise ConfigError(f"file is {str(path)!r}, but must end in one of {known}.")
    if not path.absolute().parent.is_dir():
        raise ConfigError(f"file is {str(path)!r}, but its folder does not exist.")
    opened = open_store(output, store or StoreConfig())
    record, shards = read_finished_run(opened)
    schema = tags_schema(captions=record.caption is not None)
    tables = (table for _, table in published_tags(opened, shards))
    part = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        count = write(part, schema, tables)
        part.replace(path)
    finally:
        part.unlink(missing_ok=True)
    return count


def _write_parquet(path: Path, schema: pa.Schema, tables: Tables) -> int:
    count = 0
    with pq.ParquetWriter(path, schema, compression="zstd") as writer:
        for table in tables:
            writer.write_table(table)
            count += table.num_rows
    return count


def _write_jsonl(path: Path, schema: pa.Schema, tables: Tables) -> int:
    count = 0
    with path.open("w", encoding="utf-8") as file:
        for table in tables:
            for row in _rows(table):
                file.write(json.dumps(row, ensure_ascii=False) + "\n")
            count += table.num_rows
    return count


def _write_csv(path: Path, schema: pa.Schema, tables: Tables) -> int:
    count = 0
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, schema.names)
        writer.writeheader()
        for table in tables:
            for row in _rows(table):
                writer.writerow({name: _csv_field(value) for name, value in row.items()})
            count += table.num_rows
    return count


def _csv_field(value: Any) -> Any:
    if not isinstance(value, list):
        return value
    names = (str(one).replace("\\", "\\\\").replace(SEPARATOR, "\\" + SEPARATOR) for one in value)
    return SEPARATOR.join(names)


def _write_coco(path: Path, schema: pa.Schema, tables: Tables) -> int:
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    categories: dict[int, str] = {}
    for table in tables:
        for row in _rows(table):
            number = len(images) + 1
            image = {"id": number, "file_name": row["image_id"]}
            images.append(image | {name: row[name] for name in ("width", "height")})
            given = zip(row["tag_ids"], row["tags"], row["scores"], strict=True)
            for tag_id, name, score in given:
                categories[tag_id] = name
                annotation = {"id": len(annotations) + 1, "image_id": number}
                annotations.append(annotation | {"category_id": tag_id, "score": score})
    listed = [{"id": tag_id, "name": name} for tag_id, name in sorted(categories.items())]
    content = {"images": images, "categories": listed, "annotations": annotations}
    path.write_text(json.dumps(content, ensure_ascii=False), encoding="utf-8")
    return len(images)


def _rows(table: pa.Table) -> Iterator[dict[str, Any]]:
    """Yield rows; scores with the digits that a float32 has."""
    for row in table.to_pylist():
        yield row | {"scores": [float(f"{score:.7g}") for score in row["scores"]]}


WRITERS: dict[str, Callable[[Path, pa.Schema, Tables], int]] = {
    ".parquet": _write_parquet,
    ".jsonl": _write_jsonl,
    ".csv": _write_csv,
    ".json": _write_coco,
}

"""COCO's annotation file: an annotation per tag, of the whole picture."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

from ram_ray.tagging.exports.rows import ExportReport, FinishedRun, whole_file

SUPERCATEGORY = "tag"


def write_coco(run: FinishedRun, path: Path) -> ExportReport:
    """Write `info`, `images`, `annotations`, `categories` as pycocotools reads them.

    An annotation has `score`, `iscrowd` 0 and `area`, the picture's, for it says something of the
    whole of it; no `bbox`, for none was found. `category_id` is the run's tag id, and may be 0.
    Memory does not grow with the images: annotations wait in a temporary file.
    """
    categories: dict[int, str] = {}
    with whole_file(path) as part, TemporaryFile("w+", encoding="utf-8") as annotations:
        with part.open("w", encoding="utf-8") as file:
            file.write(f'{{"info": {json.dumps(_info(run))}, "licenses": [], "images": [')
            count = _write_images(run, file, annotations, categories)
            file.write('], "annotations": [')
            annotations.seek(0)
            for block in iter(lambda: annotations.read(1 << 20), ""):
                file.write(block)
            file.write(f'], "categories": {json.dumps(_listed(categories), ensure_ascii=False)}}}')
    return ExportReport(images=count)


def _info(run: FinishedRun) -> dict[str, Any]:
    return {"description": "Image tags by ram-ray", "version": run.record.versions["ram-ray"]}


def _write_images(
    run: FinishedRun, images: IO[str], annotations: IO[str], categories: dict[int, str]
) -> int:
    """Write both lists without their brackets; return the number of images."""
    number, written = 0, 0
    for number, row in enumerate(run.rows(), start=1):
        image = {"id": number, "file_name": row["image_id"]}
        image |= {name: row[name] for name in ("width", "height")}
        images.write((", " if number > 1 else "") + json.dumps(image, ensure_ascii=False))
        for tag_id, name, score in _tags(row):
            written += 1
            categories[tag_id] = name
            one = {"id": written, "image_id": number, "category_id": tag_id, "score": score}
            one |= {"iscrowd": 0, "area": row["width"] * row["height"]}
            annotations.write((", " if written > 1 else "") + json.dumps(one))
    return number


def _tags(row: dict[str, Any]) -> Iterator[tuple[int, str, float]]:
    yield from zip(row["tag_ids"], row["tags"], row["scores"], strict=True)


def _listed(categories: dict[int, str]) -> list[dict[str, Any]]:
    return [
        {"id": tag_id, "name": name, "supercategory": SUPERCATEGORY}
        for tag_id, name in sorted(categories.items())
    ]

"""Label Studio: tasks with our tags as predictions, and the labelling interface they fit."""

import json
from pathlib import Path
from statistics import fmean
from typing import Any
from urllib.parse import quote
from xml.sax.saxutils import quoteattr

from ram_ray.tagging.exports.rows import ExportReport, FinishedRun, whole_file

LOCAL_FILES = "/data/local-files/?d="
"""How Label Studio addresses files below its LOCAL_FILES_DOCUMENT_ROOT."""


def write_label_studio(run: FinishedRun, path: Path) -> ExportReport:
    """Write a task per image, and beside it `NAME.interface.xml` with a choice per tag seen.

    A picture in a bucket is named by its s3:// address, one in a folder by its id below the
    folder that was tagged, which is Label Studio's document root then. `score` of a prediction is
    the mean over its tags.
    """
    model = f"ram-ray {run.record.versions['ram-ray']}"
    names: dict[int, str] = {}
    count = 0
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        file.write("[")
        for row in run.rows():
            names.update(zip(row["tag_ids"], row["tags"], strict=True))
            task = json.dumps(_task(row, model), ensure_ascii=False)
            file.write((",\n" if count else "\n") + task)
            count += 1
        file.write("\n]\n")
    with whole_file(path.with_suffix(".interface.xml")) as part:
        part.write_text(_interface([names[tag_id] for tag_id in sorted(names)]), encoding="utf-8")
    return ExportReport(images=count, files=2)


def _task(row: dict[str, Any], model: str) -> dict[str, Any]:
    data = {"image": _address(row), "image_id": row["image_id"]}
    if "caption" in row:
        data["caption"] = row["caption"]
    if not row["tags"]:
        return {"data": data}
    choices = {"from_name": "tags", "to_name": "image", "type": "choices"}
    result = choices | {"id": "tags", "value": {"choices": row["tags"]}}
    prediction = {"model_version": model, "score": fmean(row["scores"]), "result": [result]}
    return {"data": data, "predictions": [prediction]}


def _address(row: dict[str, Any]) -> str:
    return row["uri"] if row["uri"].startswith("s3://") else LOCAL_FILES + quote(row["image_id"])


def _interface(names: list[str]) -> str:
    choices = "\n".join(f"    <Choice value={quoteattr(name)}/>" for name in names)
    return (
        '<View>\n  <Image name="image" value="$image"/>\n'
        '  <Filter toName="tags" name="filter"/>\n'
        '  <Choices name="tags" toName="image" choice="multiple">\n'
        f"{choices}\n  </Choices>\n</View>\n"
    )

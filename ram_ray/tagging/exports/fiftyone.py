"""FiftyOne's `labels.json` of image classification: several labels per image, with confidence."""

import json
from collections import Counter
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from ram_ray.tagging.exports.rows import (
    ExportReport,
    FinishedRun,
    whole_file,
    without_suffix,
)


def write_fiftyone(run: FinishedRun, path: Path) -> ExportReport:
    """Write `{"labels": {image: [{"label", "confidence"}, ...]}}`.

    Reads as `Dataset.from_dir(dataset_type=FiftyOneImageClassificationDataset,
    labels_path=FILE, data_path=FOLDER)`. A whole file in a folder is named by its path, so no
    FOLDER is needed; others by their id without suffix, as below the FOLDER of your copy: a second
    picture of that name is left out and counted.
    """
    left_out: Counter[str] = Counter()
    seen: set[str] = set()
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        file.write('{"labels": {')
        for row in run.rows():
            name = _name(row)
            if name in seen:
                left_out["have the name of another one, but for the suffix"] += 1
                continue
            labels = json.dumps(_labels(row), ensure_ascii=False)
            start = ",\n" if seen else "\n"
            file.write(f"{start}{json.dumps(name, ensure_ascii=False)}: {labels}")
            seen.add(name)
        file.write("\n}}\n")
    return ExportReport(images=len(seen), left_out=dict(left_out))


def _name(row: dict[str, Any]) -> str:
    address = urlsplit(row["uri"])
    if address.scheme == "file" and not address.fragment:
        return unquote(address.path, errors="surrogateescape")
    return without_suffix(row["image_id"])


def _labels(row: dict[str, Any]) -> list[dict[str, Any]]:
    pairs = zip(row["tags"], row["scores"], strict=True)
    return [{"label": name, "confidence": score} for name, score in pairs]

"""`metadata.jsonl`, by which Hugging Face's imagefolder gives pictures their columns."""

import json
from pathlib import Path

from ram_ray.errors import ConfigError
from ram_ray.tagging.exports.rows import ExportReport, FinishedRun, whole_file

NAME = "metadata.jsonl"


def write_imagefolder(run: FinishedRun, folder: Path, *, replace: bool) -> ExportReport:
    """Write FOLDER/metadata.jsonl: `file_name` below FOLDER, then tags, tag_ids, scores, caption.

    FOLDER is the one that was tagged, or a copy: `load_dataset("imagefolder", data_dir=FOLDER)`.

    Raises:
        ConfigError: there is such a file already, and `replace` is off.
    """
    path = folder / NAME
    if path.exists() and not replace:
        raise ConfigError(f"{path} exists and may be somebody's work; --replace writes it anew.")
    given = ["tags", "tag_ids", "scores", *(["caption"] if "caption" in run.schema.names else [])]
    count = 0
    with whole_file(path) as part, part.open("w", encoding="utf-8") as file:
        for row in run.rows():
            line = {"file_name": row["image_id"]} | {name: row[name] for name in given}
            file.write(json.dumps(line, ensure_ascii=False) + "\n")
            count += 1
    return ExportReport(images=count)

"""OpenImages' CSV of image-level labels, as its `*-annotations-human-imagelabels.csv`."""

import csv
from pathlib import Path, PurePosixPath

from ram_ray.tagging.exports.rows import ExportReport, FinishedRun, whole_file, without_suffix

COLUMNS = ("ImageID", "Source", "LabelName", "Confidence")
SOURCE = "machine"
"""As OpenImages calls labels that no person has verified."""


def write_openimages(run: FinishedRun, path: Path) -> ExportReport:
    """Write a line per tag of an image; images without a tag have none, as there.

    ImageID is the image's name without folders and suffix where that names one image alone, else
    its id without the suffix. LabelName is the tag's name: OpenImages' own ids (/m/01yrx) are
    known for none of our tags.
    """
    alone = _names_once(run)
    count = 0
    with whole_file(path) as part, part.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(COLUMNS)
        for row in run.rows():
            count += 1
            image = without_suffix(row["image_id"])
            image = PurePosixPath(image).name if alone else image
            for name, score in zip(row["tags"], row["scores"], strict=True):
                writer.writerow((image, SOURCE, name, score))
    return ExportReport(images=count)


def _names_once(run: FinishedRun) -> bool:
    """Return whether no two images share a name once folders and suffix are gone."""
    seen: set[int] = set()  # hashes: a collision only keeps the folders
    for table in run.tables():
        for image_id in table["image_id"].to_pylist():
            name = hash(PurePosixPath(without_suffix(image_id)).name)
            if name in seen:
                return False
            seen.add(name)
    return True

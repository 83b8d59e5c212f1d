"""`a.txt` beside `a.jpg`: what LoRA training tools (kohya's scripts and their kin) read."""

from collections import Counter
from pathlib import Path

from ram_ray.tagging.exports.rows import ExportReport, FinishedRun, without_suffix
from ram_ray.tagging.exports.sidecars import (
    IS_A_LINK,
    KEPT,
    NO_SUCH_NAME,
    place_below,
    write_whole,
)


def write_kohya(run: FinishedRun, folder: Path, *, replace: bool) -> ExportReport:
    """Write a text file per image: tags, best first, joined by ", "; a comma in a name becomes " ".

    A text file that exists is left as it is unless `replace`: it may be a person's caption. An
    image without a tag gets an empty file, so that no tool takes another one's.
    """
    left_out: Counter[str] = Counter()
    count = files = 0
    written: set[Path] = set()
    for row in run.rows():
        place = place_below(folder, without_suffix(row["image_id"]) + ".txt")
        if place is None:
            left_out[NO_SUCH_NAME] += 1
        elif place.is_symlink():
            left_out[IS_A_LINK] += 1
        elif place in written:
            left_out["have the name of another one, but for the suffix"] += 1
        else:
            text = ", ".join(name.replace(",", " ") for name in row["tags"]).encode()
            same = place.is_file() and place.read_bytes() == text
            if place.exists() and not same and not replace:
                left_out[KEPT] += 1
                continue
            if not same:
                write_whole(place, text)
                files += 1
            written.add(place)
            count += 1
    return ExportReport(images=count, files=files, left_out=dict(left_out))

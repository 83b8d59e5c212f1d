"""Labels of people, in the layouts they are published in, as one table of known and unknown.

| layout | what it is | a tag not listed is |
|---|---|---|
| `jsonl`, `parquet` | rows of `image_id`, `present` (or `labels`), `absent` | absent |
| `coco` | an instances JSON: every image was searched for every category | absent |
| `openimages` | image-level CSV: ImageID, LabelName, Confidence (1 or 0) | unverified |
| `voc` | folder of `CLASS_SPLIT.txt`, lines "image 1", "-1", or "0" for difficult | unverified |
| `lines` | RAM's published lists: "path,tag,tag", one image a line | absent |
"""

import csv
import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ram_model.metrics import ABSENT, PRESENT, UNVERIFIED
from ram_ray.errors import ConfigError

Layout = Literal["jsonl", "parquet", "coco", "openimages", "voc", "lines"]
Unlisted = Literal["absent", "unverified"]

_UNLISTED: dict[str, Unlisted] = {
    "coco": "absent",
    "lines": "absent",
    "openimages": "unverified",
    "voc": "unverified",
}


@dataclass(frozen=True, slots=True)
class Truth:
    """What people said about images."""

    image_ids: tuple[str, ...]
    names: tuple[str, ...]
    """Tags as the source calls them, sorted."""
    labels: np.ndarray
    """int8 [images, tags]: 1 present, 0 absent, -1 unverified."""


@dataclass(slots=True)
class _Said:
    present: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)


def read_truth(
    path: str | Path, layout: Layout | None = None, unlisted: Unlisted | None = None
) -> Truth:
    """Return the labels of a file or folder.

    Args:
        path: of the layout's file, or folder for `voc`. For `openimages` a file
            `class-descriptions.csv` beside it translates label names.
        layout: None: by the ending (`.jsonl`, `.parquet`, `.json`, `.csv`, `.txt`, a folder).
        unlisted: what a tag is that an image's row does not name; None: as in the table above.

    Raises:
        ConfigError: no such file, another layout than said, or a row that cannot be read (with
            its number); an image that is said to show and not to show the same tag.
    """
    path = Path(path)
    layout = layout or _layout_of(path)
    readers = {
        "jsonl": _read_jsonl,
        "parquet": _read_parquet,
        "coco": _read_coco,
        "openimages": _read_openimages,
        "voc": _read_voc,
        "lines": _read_lines,
    }
    if layout not in readers:
        raise ConfigError(f"layout is {layout!r}, but must be {', '.join(get_args(Layout))}.")
    said: dict[str, _Said] = {}
    try:
        for image_id, present, absent, unsure in readers[layout](path):
            entry = said.setdefault(image_id, _Said())
            entry.present.update(present)
            entry.absent.update(absent)
            entry.unsure.update(unsure)
    except (OSError, UnicodeDecodeError, pa.ArrowInvalid) as error:
        raise ConfigError(f"The labels {path} cannot be read: {error}.") from error
    if not said:
        raise ConfigError(f"The labels {path} name no image.")
    return _table(path, said, unlisted or _UNLISTED.get(layout, "absent"))


def _table(path: Path, said: dict[str, _Said], unlisted: Unlisted) -> Truth:
    names = sorted({name for s in said.values() for name in s.present | s.absent | s.unsure})
    column = {name: number for number, name in enumerate(names)}
    default = ABSENT if unlisted == "absent" else UNVERIFIED
    labels = np.full((len(said), len(names)), default, dtype=np.int8)
    for row, (image_id, entry) in enumerate(said.items()):
        both = sorted(entry.present & entry.absent)
        if both:
            raise ConfigError(f"{path}: {image_id} is said to show and not to show {both[0]!r}.")
        labels[row, [column[name] for name in entry.unsure]] = UNVERIFIED
        labels[row, [column[name] for name in entry.absent]] = ABSENT
        labels[row, [column[name] for name in entry.present]] = PRESENT
    return Truth(tuple(said), tuple(names), labels)


def _layout_of(path: Path) -> Layout:
    if path.is_dir():
        return "voc"
    by_ending: dict[str, Layout] = {
        ".jsonl": "jsonl",
        ".parquet": "parquet",
        ".json": "coco",
        ".csv": "openimages",
        ".txt": "lines",
    }
    if path.suffix not in by_ending:
        raise ConfigError(f"layout is missing: it cannot be told from the name {path.name}.")
    return by_ending[path.suffix]


_Row = tuple[str, Iterable[str], Iterable[str], Iterable[str]]
"""Image id, tags present, absent, and looked at without a result."""


def _read_jsonl(path: Path) -> Iterator[_Row]:
    with path.open(encoding="utf-8") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                row = json.loads(line)
            except json.JSONDecodeError as error:
                raise ConfigError(f"{path}, line {number}: {error}.") from error
            yield _row_of(row, f"{path}, line {number}")


def _read_parquet(path: Path) -> Iterator[_Row]:
    for number, row in enumerate(pq.read_table(path).to_pylist()):
        yield _row_of(row, f"{path}, row {number}")


def _row_of(row: Any, where: str) -> _Row:
    if not isinstance(row, dict) or "image_id" not in row:
        raise ConfigError(f"{where}: a row needs image_id.")
    present, absent = row.get("present", row.get("labels")), row.get("absent") or []
    for names in (present, absent):
        if not isinstance(names, list) or not all(isinstance(name, str) for name in names):
            raise ConfigError(f"{where}: a row needs the list present (or labels) of names.")
    return str(row["image_id"]), present or (), absent, ()


def _read_coco(path: Path) -> Iterator[_Row]:
    try:
        data = json.loads(path.read_text(encoding="utf-8"))
        names = {category["id"]: category["name"] for category in data["categories"]}
        shown: dict[int, set[str]] = {image["id"]: set() for image in data["images"]}
        for annotation in data["annotations"]:
            shown[annotation["image_id"]].add(names[annotation["category_id"]])
        for image in data["images"]:
            present = shown[image["id"]]
            yield image["file_name"], present, set(names.values()) - present, ()
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is no COCO instances file: {error!r}.") from error


def _read_openimages(path: Path) -> Iterator[_Row]:
    descriptions = path.with_name("class-descriptions.csv")
    names: dict[str, str] = {}
    if descriptions.exists():
        with descriptions.open(encoding="utf-8", newline="") as file:
            names = {row[0]: row[1] for row in csv.reader(file) if len(row) == 2}
    with path.open(encoding="utf-8", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                name = names.get(row["LabelName"], row["LabelName"])
                image_id, confidence = row["ImageID"], float(row["Confidence"])
            except (KeyError, TypeError, ValueError) as error:
                raise ConfigError(
                    f"{path}, line {number}: needs ImageID, LabelName, Confidence."
                ) from error
            yield (image_id, (name,), (), ()) if confidence > 0 else (image_id, (), (name,), ())


def _read_voc(path: Path) -> Iterator[_Row]:
    for file in sorted(path.glob("*_*.txt")):
        name = file.stem.rpartition("_")[0]
        for number, line in enumerate(file.read_text(encoding="utf-8").splitlines(), start=1):
            parts = line.split()
            if len(parts) != 2 or parts[1] not in ("1", "-1", "0"):
                raise ConfigError(f'{file}, line {number}: needs "image 1", "-1" or "0".')
            image_id, said = parts
            named = {said: (name,)}
            yield image_id, named.get("1", ()), named.get("-1", ()), named.get("0", ())


def _read_lines(path: Path) -> Iterator[_Row]:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.strip():
            image_id, *names = (part.strip() for part in line.split(","))
            yield image_id, [name for name in names if name], (), ()

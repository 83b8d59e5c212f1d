"""Labels of people, in the layouts they are published in, as one table of known and unknown.

| layout | what it is | a tag not listed is |
|---|---|---|
| `jsonl`, `parquet` | rows of `image_id`, `present` (or `labels`), `absent` | absent |
| `coco` | an instances JSON: every image was searched for every category | absent |
| `openimages` | image-level CSV: ImageID, LabelName, Confidence (1 or 0) | unverified |
| `voc` | folder of `CLASS_SPLIT.txt`, lines "image 1", "-1", or "0" for difficult | unverified |
| `lines` | RAM's published lists: "path,tag,tag" or "path,3 17", one image a line | absent |
"""

from dataclasses import dataclass, field
from pathlib import Path
from typing import get_args

import numpy as np
import pyarrow as pa

from ram_model.errors import TextFileError
from ram_model.metrics import ABSENT, PRESENT, UNVERIFIED
from ram_ray.errors import ConfigError
from ram_ray.evaluation import layouts
from ram_ray.evaluation.config import Layout, Unlisted

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
    """Tags as the source calls them, sorted; a name that several of its labels share comes once
    for each."""
    labels: np.ndarray
    """int8 [images, tags]: 1 present, 0 absent, -1 unverified."""


@dataclass(slots=True)
class _Said:
    present: set[str] = field(default_factory=set)
    absent: set[str] = field(default_factory=set)
    unsure: set[str] = field(default_factory=set)


def read_truth(
    path: str | Path,
    layout: Layout | None = None,
    unlisted: Unlisted | None = None,
    tag_list: str | Path | None = None,
) -> Truth:
    """Return the labels of a file or folder.

    Args:
        path: of the layout's file, or folder for `voc`. For `openimages` files
            `*class-descriptions*.csv` beside it translate label names.
        layout: None: by the ending (`.jsonl`, `.parquet`, `.json`, `.csv`, `.txt`, a folder).
        unlisted: what a tag is that an image's row does not name; None: as in the table above.
        tag_list: for `lines`: file of all classes, one a line; None: the one published beside.

    Raises:
        ConfigError: no such file, another layout than said, or a row that cannot be read (with
            its number); an image that is said to show and not to show the same tag.
    """
    path = Path(path)
    layout = layout or _layout_of(path)
    readers = {
        "jsonl": layouts.read_rows,
        "parquet": layouts.read_rows,
        "coco": layouts.read_coco,
        "openimages": layouts.read_openimages,
        "voc": layouts.read_voc,
    }
    if layout not in get_args(Layout):
        raise ConfigError(f"layout is {layout!r}, but must be {', '.join(get_args(Layout))}.")
    if tag_list is not None and layout != "lines":
        raise ConfigError(f"tag_list is for layout lines, but the labels are {layout}.")
    said: dict[str, _Said] = {}
    try:
        if layout == "lines":
            file = layouts.read_lines(path, None if tag_list is None else Path(tag_list))
        else:
            file = readers[layout](path)
        for image_id, present, absent, unsure in file.rows:
            entry = said.setdefault(image_id, _Said())
            entry.present.update(present)
            entry.absent.update(absent)
            entry.unsure.update(unsure)
    except (OSError, UnicodeDecodeError, TextFileError, pa.ArrowInvalid) as error:
        raise ConfigError(f"The labels {path} cannot be read: {error}.") from error
    if not said:
        raise ConfigError(f"The labels {path} name no image.")
    return _table(path, said, file, unlisted or _UNLISTED.get(layout, "absent"))


def _table(
    path: Path, said: dict[str, _Said], file: layouts.LabelFile, unlisted: Unlisted
) -> Truth:
    used = {key for s in said.values() for key in s.present | s.absent | s.unsure}
    keys = sorted(used | set(file.classes), key=lambda key: (file.names.get(key, key), key))
    column = {key: number for number, key in enumerate(keys)}
    default = ABSENT if unlisted == "absent" else UNVERIFIED
    labels = np.full((len(said), len(keys)), default, dtype=np.int8)
    for row, (image_id, entry) in enumerate(said.items()):
        both = sorted(entry.present & entry.absent)
        if both:
            name = file.names.get(both[0], both[0])
            raise ConfigError(f"{path}: {image_id} is said to show and not to show {name!r}.")
        labels[row, [column[key] for key in entry.unsure]] = UNVERIFIED
        labels[row, [column[key] for key in entry.absent]] = ABSENT
        labels[row, [column[key] for key in entry.present]] = PRESENT
    return Truth(tuple(said), tuple(file.names.get(key, key) for key in keys), labels)


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

"""Readers of label files in the layouts they are published in, line by line.

RAM's lists name an image and its tags, "path,tag,tag", or the numbers of its tags in a tag list,
"path,3 17". The tag list is one that is given, or the file that was published with the lines, if it
lies beside them (`x_taglist.txt` for `x_annots.txt`, `x_tagidlist.txt` for `x_idannots.txt`). Tags
that are numbers there (Tag2Text's) are ids of the model's vocabulary.
"""

import csv
import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from ram_model.text_files import read_lines as text_lines
from ram_model.text_files import read_text
from ram_ray.errors import ConfigError
from ram_ray.labels.label_rows import LabelRow, read_label_rows

Names = tuple[str, ...]
Row = tuple[str, Iterable[str], Iterable[str], Iterable[str]]
"""Image id, labels present, absent, and looked at without a result."""

_NUMBERS = re.compile(r"\d+( \d+)*")
_VOC_SETS = "ImageSets/Main"


@dataclass(frozen=True, kw_only=True, slots=True)
class LabelFile:
    """What a file says, before it is made a table."""

    rows: Iterable[Row]
    names: Mapping[str, str] = field(default_factory=dict)
    """Of labels that are no names themselves, such as numbers."""
    classes: tuple[str, ...] = ()
    """All labels there are, where the source lists them: also those that no row names."""


def read_rows(path: Path) -> LabelFile:
    """Return the rows of a JSONL or Parquet file (`labels.label_rows`); tags must be names."""
    rows = read_label_rows(path.read_bytes(), str(path))
    return LabelFile(rows=map(_named_row, rows))


def read_coco(path: Path) -> LabelFile:
    """Return the images of a COCO instances file; every category is a class."""
    try:
        data = json.loads(read_text(path))
        names = {category["id"]: category["name"] for category in data["categories"]}
        shown: dict[int, set[str]] = {image["id"]: set() for image in data["images"]}
        for annotation in data["annotations"]:
            shown[annotation["image_id"]].add(names[annotation["category_id"]])
        all_names = set(names.values())
        rows = [
            (image["file_name"], shown[image["id"]], all_names - shown[image["id"]], ())
            for image in data["images"]
        ]
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{path} is no COCO instances file (images, categories, annotations): {error!r}."
        ) from error
    return LabelFile(rows=rows)


def read_openimages(path: Path) -> LabelFile:
    """Return the rows of image-level labels; files `*class-descriptions*.csv` beside it name them.

    Labels of one name stay apart here.
    """
    names: dict[str, str] = {}
    for beside in sorted(path.parent.glob("*class-descriptions*.csv")):
        with beside.open(encoding="utf-8-sig", newline="") as file:
            names |= {row[0]: row[1] for row in csv.reader(file) if len(row) >= 2}
    return LabelFile(rows=_openimages_rows(path), names=names)


def read_voc(path: Path) -> LabelFile:
    """Return the images of `CLASS_SPLIT.txt` files in a folder, or in its ImageSets/Main."""
    folder = path / _VOC_SETS if (path / _VOC_SETS).is_dir() else path
    files = sorted(folder.glob("*_*.txt"))
    if not files:
        raise ConfigError(
            f"{path} holds no CLASS_SPLIT.txt file, such as cat_val.txt: give VOC's {_VOC_SETS}."
        )
    return LabelFile(rows=(row for file in files for row in _voc_rows(file)))


def read_lines(path: Path, tag_list: Path | None = None) -> LabelFile:
    """Return the images of RAM's published lists.

    Args:
        tag_list: of all classes; None: the one published beside it, if it is there.
    """
    lines = text_lines(path)
    told = [line.partition(",")[2].strip() for line in lines]
    if not any(told):
        raise ConfigError(f'{path} names no tag: a line must be "path,tag,tag" or "path,3 17".')
    tag_list = tag_list or _published_beside(path)
    classes = [] if tag_list is None else _tags_in(tag_list)
    numbered = all(_NUMBERS.fullmatch(text.replace(",", " ")) for text in told if text)
    if numbered and tag_list is None:
        raise ConfigError(f"{path} gives tags by number: name their list with --tag-list.")
    if not numbered:
        return LabelFile(
            rows=_named_rows(path, lines, classes, tag_list), classes=tuple(dict.fromkeys(classes))
        )
    if all(map(str.isdecimal, classes)):  # ids of the model's own vocabulary
        names = {name: f"#{name}" for name in classes}
    else:
        names = {str(number): name for number, name in enumerate(classes)}
    rows = _numbered_rows(path, lines, names, tag_list)
    return LabelFile(rows=rows, names=names, classes=tuple(names))


def _named_row(row: LabelRow) -> Row:
    if row.present is None and row.absent is None:
        raise ConfigError(f"{row.where}: a row needs the list present (or labels) of names.")
    present, absent, unsure = row.present or (), row.absent or (), row.unknown
    for tag in (*present, *absent, *unsure):
        if not isinstance(tag, str):
            raise ConfigError(f"{row.where}: tag {tag} is a number, but labels here are names.")
    return row.image_id, cast(Names, present), cast(Names, absent), cast(Names, unsure)


def _openimages_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        for number, row in enumerate(csv.DictReader(file), start=2):
            try:
                label, image_id, confidence = (
                    row["LabelName"],
                    row["ImageID"],
                    float(row["Confidence"]),
                )
            except (KeyError, TypeError, ValueError) as error:
                raise ConfigError(
                    f"{path}, line {number}: needs ImageID, LabelName, Confidence."
                ) from error
            if confidence not in (0, 1):
                raise ConfigError(
                    f"{path}, line {number}: Confidence is {confidence:g}, but people say 0 or 1; "
                    "these are labels of a machine."
                )
            yield (image_id, (label,), (), ()) if confidence else (image_id, (), (label,), ())


def _voc_rows(file: Path) -> Iterator[Row]:
    name = file.stem.rpartition("_")[0]
    for number, line in enumerate(text_lines(file), start=1):
        parts = line.split()
        if len(parts) != 2 or parts[1] not in ("1", "-1", "0"):
            raise ConfigError(f'{file}, line {number}: needs "image 1", "-1" or "0".')
        image_id, said = parts
        named = {said: (name,)}
        yield image_id, named.get("1", ()), named.get("-1", ()), named.get("0", ())


def _published_beside(path: Path) -> Path | None:
    for end, list_end in (("_idannots", "_tagidlist"), ("_annots", "_taglist")):
        if path.stem.endswith(end):
            found = path.with_name(path.stem.removesuffix(end) + list_end + path.suffix)
            return found if found.is_file() else None
    return None


def _tags_in(tag_list: Path) -> list[str]:
    """Return the names, or numbers, of a tag list; one a line, in the order of their numbers."""
    tags = [line.strip() for line in text_lines(tag_list)]
    if not tags or not all(tags):
        where = f"line {tags.index('') + 1} is empty" if tags else "it is empty"
        raise ConfigError(f"The tag list {tag_list} must have one tag a line, but {where}.")
    return tags


def _named_rows(
    path: Path, lines: list[str], classes: list[str], tag_list: Path | None
) -> Iterator[Row]:
    known = set(classes)
    for number, line in enumerate(lines, start=1):
        if line.strip():
            image_id, *names = (part.strip() for part in line.split(","))
            present = [name for name in names if name]
            unlisted = [name for name in present if name not in known]
            if tag_list is not None and unlisted:
                raise ConfigError(
                    f"{path}, line {number}: {unlisted[0]!r} is not in the tag list {tag_list}."
                )
            yield image_id, present, (), ()


def _numbered_rows(
    path: Path, lines: list[str], names: Mapping[str, str], tag_list: Path | None
) -> Iterator[Row]:
    for number, line in enumerate(lines, start=1):
        if line.strip():
            image_id, _, told = line.partition(",")
            present = [str(int(tag)) for tag in told.replace(",", " ").split()]
            unlisted = [tag for tag in present if tag not in names]
            if unlisted:
                raise ConfigError(
                    f"{path}, line {number}: there is no tag {unlisted[0]} among the "
                    f"{len(names)} of {tag_list}."
                )
            yield image_id.strip(), present, (), ()

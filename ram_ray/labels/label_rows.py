"""Rows of people's labels: one reader for training and evaluation.

A row names its image as caption files do (`image_id`, `file_name`, ...) and says

    tag_ids, tags, present, labels   lists of present tags, by id or name (RAM: union_label_id)
    label, tag                       the one tag of a single-label set, by name
    absent                           tags that are not there
    unknown                          tags without a verdict
    scores                           0..1 for each present tag: soft targets
    captions                         texts

A row that says nothing, or whose meaning would be a guess, is refused by its line.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ram_model.text_files import decode_text, split_lines
from ram_ray.errors import ConfigError
from ram_ray.labels.captions.rows import image_name
from ram_ray.storage.parquet import table_of

PRESENT = ("tag_ids", "tags", "present", "labels", "union_label_id")
"""Columns that hold a list of tags, the first one there."""
SINGLE = ("label", "tag")
"""Columns that hold one tag."""
_OTHERS = ("absent", "unknown", "captions")

Tag = str | int
"""A name, trimmed, or an id."""


@dataclass(frozen=True, slots=True)
class LabelRow:
    """What one row says of one image."""

    image_id: str
    present: tuple[Tag, ...] | None
    """None: the row does not say what is present."""
    scores: tuple[float, ...] | None
    """Parallel to `present`, 0..1; None: not said."""
    absent: tuple[Tag, ...] | None
    """None: the row does not say what is absent."""
    unknown: tuple[Tag, ...]
    captions: tuple[str, ...]
    where: str
    """File and line, for messages."""


def read_label_rows(data: bytes, name: str) -> Iterator[LabelRow]:
    """Yield the rows of a JSONL or Parquet file.

    Args:
        name: of the file; its ending tells the form.

    Raises:
        ConfigError: it cannot be read, or a row is refused; names the line.
    """
    if name.lower().endswith(".parquet"):
        try:
            table = table_of(data)
        except pa.ArrowInvalid as error:
            raise ConfigError(f"The labels {name} cannot be read: {error}.") from error
        for number, row in enumerate(table.to_pylist()):
            yield label_row(row, f"{name}, row {number}")
        return
    try:
        lines = split_lines(decode_text(data, name))
    except ValueError as error:
        raise ConfigError(f"The labels cannot be read: {error}.") from error
    for number, line in enumerate(lines, start=1):
        if line.strip():
            where = f"{name}, line {number}"
            try:
                row = json.loads(line)
            except ValueError as error:
                raise ConfigError(f"{where} is not JSON: {error}.") from error
            yield label_row(row, where)


def label_row(row: Any, where: str) -> LabelRow:
    """Return what a row says.

    Raises:
        ConfigError: it names no image, has no known column, or a column holds another type.
    """
    if not isinstance(row, dict):
        raise ConfigError(f"{where}: a row must be an object with image_id and tags.")
    row = {str(name).strip().lower(): value for name, value in row.items()}
    image_id = image_name(row)
    if image_id is None:
        raise ConfigError(f"{where}: a row needs image_id.")
    if not any(row.get(name) is not None for name in (*PRESENT, *SINGLE, *_OTHERS)):
        raise ConfigError(
            f"{where} says nothing of {image_id}: it needs one of {', '.join(PRESENT)}, or label "
            f"for one tag; it has {', '.join(row)}."
        )
    present = _present(row, where)
    absent = row.get("absent")
    return LabelRow(
        image_id=image_id,
        present=present,
        scores=_scores(row.get("scores"), len(present or ()), where),
        absent=None if absent is None else _tags(absent, "absent", where),
        unknown=_tags(row.get("unknown") or [], "unknown", where),
        captions=_captions(row.get("captions"), where),
        where=where,
    )


def _present(row: dict[str, Any], where: str) -> tuple[Tag, ...] | None:
    for name in PRESENT:
        if row.get(name) is not None:
            return _tags(row[name], name, where)
    for name in SINGLE:
        value = row.get(name)
        if value is None:
            continue
        if not isinstance(value, str) or not value.strip():
            raise ConfigError(f"{where}: {name} is {value!r}, but must be the name of one tag.")
        return (value.strip(),)
    return None


def _tags(values: Any, name: str, where: str) -> tuple[Tag, ...]:
    if not isinstance(values, list):
        hint = f"; write [{values!r}] for one tag" if isinstance(values, str) else ""
        raise ConfigError(
            f"{where}: {name} is {values!r:.60}, but must be a list of names or ids{hint}."
        )
    tags: list[Tag] = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, (str, int)):
            raise ConfigError(f"{where}: {name} holds {value!r:.60}, which is no tag.")
        tag = value.strip() if isinstance(value, str) else value
        if tag != "":
            tags.append(tag)
    ids = [tag for tag in tags if isinstance(tag, int)]
    if len(ids) > 2 and len(set(ids)) < len(ids) and set(ids) <= {0, 1}:
        raise ConfigError(
            f"{where}: {name} looks like a row of zeros and ones for all tags, but must list the "
            "ids or names of those that are there."
        )
    return tuple(tags)


def _scores(values: Any, count: int, where: str) -> tuple[float, ...] | None:
    if values is None or values == []:
        return None
    numbers = isinstance(values, list) and all(
        isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1
        for value in values
    )
    if not numbers or len(values) != count:
        raise ConfigError(f"{where}: scores must be {count} numbers between 0 and 1.")
    return tuple(map(float, values))


def _captions(values: Any, where: str) -> tuple[str, ...]:
    values = [values] if isinstance(values, str) else values or []
    if not isinstance(values, list) or not all(isinstance(value, str) for value in values):
        raise ConfigError(f"{where}: captions is {values!r:.60}, but must be a list of texts.")
    return tuple(values)

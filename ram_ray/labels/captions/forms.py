"""What a caption file is, told from its name and its beginning; what cannot be told is refused.

Form("table", delimiter="\\t", columns=("caption", "url"))    Conceptual Captions
"""

import csv
import json
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace

from ram_model.text_files import other_encoding
from ram_ray.errors import ConfigError
from ram_ray.labels.captions.rows import NAMES, TABLE_FIELDS, is_file_name

SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".parquet", ".tar", ".txt", ".caption",
            ".token", ".tsv")  # fmt: skip
"""Of files that may hold captions, in any case."""
HEAD_BYTES = 1 << 20
"""Of a file, that a form is told from."""
_HEAD_LINES = 1_000
_MOST = 0.95
"""Share of rows that make a column one of addresses or of file names."""
_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://\S+")
FLICKR = re.compile(r"(?P<key>\S+\.(?:jpe?g|png)(?:\.\d+)?#\d+)(?P<separator>\s+)(?P<text>.*)")
"""Flickr8k.token.txt: name.jpg#0, a tab, the caption; a few of its lines have a space for the
tab."""


@dataclass(frozen=True, slots=True)
class Form:
    """How to read one file."""

    kind: str
    """lines, jsonl, json, table, parquet, tar, text (one caption, of the image beside), object
    (likewise, as JSON), stats (img2dataset's counts, no captions)."""
    delimiter: str = ""
    columns: tuple[str, ...] | None = None
    """Of a table; None: its first line tells."""
    has_header: bool = True
    quoted: bool = False
    """Fields may stand in quotes and hold newlines: the file cannot be cut between lines."""

    def to_json(self) -> str:
        """Return the form as one line, for a plan."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> "Form":
        """Return the form that `to_json` wrote."""
        fields = json.loads(text)
        columns = fields.pop("columns")
        return cls(**fields, columns=None if columns is None else tuple(columns))


def form_of(name: str, head: bytes, columns: Sequence[str] | None = None) -> Form:
    """Return the form of a caption file.

    Args:
        name: its name; the ending counts.
        head: its first HEAD_BYTES, or all of it.
        columns: what the columns of tables without names are, in order; None: told from the rows.

    Raises:
        ConfigError: a table whose columns cannot be told apart; says how to name them.
    """
    suffix = "." + name.rsplit(".", 1)[-1].lower()
    if suffix == ".json":
        stats = b'"successes"' in head and b'"failed_to_download"' in head and b'"count"' in head
        return Form("stats") if stats else Form("json")
    by_suffix = {".jsonl": "jsonl", ".ndjson": "jsonl", ".parquet": "parquet", ".tar": "tar"}
    if suffix in by_suffix:
        return Form(by_suffix[suffix])
    if other_encoding(head) is not None:
        return Form("lines")  # the reader refuses it by name
    lines = _whole_lines(head)
    if not lines or FLICKR.fullmatch(lines[0]):
        return Form("lines")
    table = _with_header(lines[0], of_table=suffix in (".csv", ".tsv"))
    if table is not None:
        return table if columns is None else replace(table, columns=_checked(name, columns))
    delimiter = "," if suffix == ".csv" else "\t"
    rows = list(csv.reader(lines, delimiter=delimiter)) if suffix == ".csv" else [
        line.split("\t") for line in lines
    ]  # fmt: skip
    if suffix != ".csv" and _share(rows, lambda row: len(row) > 1) < _MOST:
        return Form("lines")
    return Form(
        "table",
        delimiter=delimiter,
        columns=_columns(name, rows, columns),
        has_header=False,
        quoted=suffix == ".csv",
    )


def _whole_lines(head: bytes) -> list[str]:
    text = head.decode("utf-8-sig", errors="replace")
    lines = text.split("\n")
    if len(head) >= HEAD_BYTES:
        lines.pop()
    lines = [line.removesuffix("\r") for line in lines[:_HEAD_LINES]]
    return [line for line in lines if line.strip()]


def _with_header(line: str, *, of_table: bool) -> Form | None:
    """Return the form of a table whose first line names its columns; None where it does not.

    A text file is a table only where the line names a column of captions and one of images.
    """
    for delimiter in (",", "\t", "|", ";"):
        names = [cell.strip().lower() for cell in next(csv.reader([line], delimiter=delimiter))]
        has_text = any(name in TABLE_FIELDS for name in names)
        has_name = any(name in NAMES for name in names)
        if has_text and (has_name or (of_table and delimiter in (",", "\t"))):
            return Form(
                "table", delimiter=delimiter, columns=tuple(names), quoted=delimiter != "\t"
            )
    return None


def _columns(name: str, rows: list[list[str]], columns: Sequence[str] | None) -> tuple[str, ...]:
    """Return what the columns are: the one of addresses or file names is told from its values."""
    width = max(map(len, rows))
    if columns is not None:
        if len(columns) != width:
            raise ConfigError(
                f"columns is {','.join(columns)!r}, but {name} has {width} columns: name each."
            )
        return _checked(name, columns)
    told = [_kind_of([row[column] for row in rows if len(row) > column]) for column in range(width)]
    names = [kind for kind in told if kind]
    if width != 2 or len(names) != 1:
        raise ConfigError(
            f"{name} has {width} columns without names, and which holds the captions cannot be "
            "told: name them, as in --columns caption,url."
        )
    return tuple(kind or "caption" for kind in told)


def _kind_of(values: list[str]) -> str | None:
    if _share(values, lambda value: bool(_ADDRESS.fullmatch(value.strip()))) >= _MOST:
        return "url"
    if _share(values, lambda value: is_file_name(value.strip()) and " " not in value) >= _MOST:
        return "file_name"
    return None


def _checked(name: str, columns: Sequence[str]) -> tuple[str, ...]:
    lower = tuple(column.strip().lower() for column in columns)
    if not any(column in TABLE_FIELDS for column in lower):
        raise ConfigError(
            f"columns is {','.join(columns)!r}, but one of them must be the captions of {name}: "
            f"{', '.join(TABLE_FIELDS)}."
        )
    return lower


def _share(values: Sequence[object], test: "object") -> float:
    assert callable(test)
    return sum(bool(test(value)) for value in values) / max(1, len(values))

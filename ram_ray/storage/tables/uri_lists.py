"""Lists of URIs: .txt with one a line, .csv and .tsv with or without names of columns.

A URI stands as it is, never decoded: s3://bucket/a%20b.jpg is the object whose key has a percent
sign. (Of file:// URLs alone %20 is a space.)
"""

import csv
import io
from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain, islice

from ram_ray.config import ImageTables, StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage.object_files import open_object
from ram_ray.storage.sources import OnPassed, SourceObject
from ram_ray.storage.tables.columns import (
    BY_ROW,
    ID_COLUMNS,
    URI_COLUMNS,
    find_named,
    find_uri_column,
    is_place,
)
from ram_ray.storage.tables.rows import RowReader, base_name

LISTS = (".txt", ".csv", ".tsv")
"""Endings of lists, in lower case; Parquet is `parquet_rows`."""
HEAD_ROWS = 1_000
"""Rows that columns are told from."""
DELIMITERS = (",", "\t", ";", "|")


def list_uris(
    list_uri: str, store: StoreConfig, tables: ImageTables, on_passed: OnPassed
) -> Iterator[SourceObject]:
    """Yield the images that a list names, in its order.

    Raises:
        ConfigError: its columns cannot be told, or it is no UTF-8.
        UnreachableError: it cannot be read.
    """
    name = base_name(list_uri)
    try:
        with closing(open_object(list_uri, store)) as file:
            text = io.TextIOWrapper(file, encoding="utf-8-sig", newline="")
            if name.lower().endswith(".txt"):
                yield from _lines(text, list_uri, tables, on_passed)
            else:
                yield from _rows(text, list_uri, tables, on_passed)
    except UnicodeDecodeError as error:
        raise ConfigError(f"{name} is not UTF-8 (byte {error.start}): save it as UTF-8.") from error
    except csv.Error as error:
        raise ConfigError(f"{name} is no table of text: {error}.") from error
    except OSError as error:
        raise UnreachableError(f"Cannot read {list_uri}: {error}.") from error


def _lines(
    text: io.TextIOWrapper, list_uri: str, tables: ImageTables, on_passed: OnPassed
) -> Iterator[SourceObject]:
    for option in ("uri_column", "id_column"):
        value = getattr(tables, option)
        if value not in (None, BY_ROW):
            raise ConfigError(
                f"{option} is {value!r}, but must be left out: {base_name(list_uri)} has no "
                "columns (a .csv has)."
            )
    reader = RowReader(list_uri, tables.id_column == BY_ROW, on_passed)
    for number, line in enumerate(text, 1):
        line = line.removesuffix("\n").removesuffix("\r")
        found = reader.object_of(line, None, number) if line.strip() else None
        if found is not None:
            yield found


def _rows(
    text: io.TextIOWrapper, list_uri: str, tables: ImageTables, on_passed: OnPassed
) -> Iterator[SourceObject]:
    name = base_name(list_uri)
    first = text.readline()
    rows = csv.reader(chain([first], text), delimiter=_delimiter(name, first, tables))
    head = list(islice(rows, HEAD_ROWS))
    names = _header(head, tables)
    start = 1 if names else 0
    width = max(map(len, head), default=1)
    # without names, columns are called by their number
    names = names or [str(number) for number in range(1, width + 1)]
    sample = [(row + [""] * len(names))[: len(names)] for row in head[start:] if row]
    uri_at = names.index(find_uri_column(tables, names, sample, name))
    id_at = None
    if tables.id_column not in (None, BY_ROW):
        id_at = names.index(find_named("id_column", str(tables.id_column), names, name))
    reader = RowReader(list_uri, tables.id_column == BY_ROW, on_passed)
    for number, row in enumerate(chain(head[start:], rows), start + 1):
        if not row:  # an empty line
            continue
        image_id = None if id_at is None else _cell(row, id_at)
        found = reader.object_of(_cell(row, uri_at), image_id, number)
        if found is not None:
            yield found


def _cell(row: Sequence[str], at: int) -> str:
    return row[at] if at < len(row) else ""


def _delimiter(name: str, first: str, tables: ImageTables) -> str:
    if name.lower().endswith(".tsv"):
        return "\t"
    known = _known(tables)
    for delimiter in DELIMITERS:
        if any(
            cell.strip().lower() in known
            for cell in next(csv.reader([first], delimiter=delimiter), [])
        ):
            return delimiter
    return ","


def _header(head: Sequence[Sequence[str]], tables: ImageTables) -> list[str] | None:
    """Return the names in the first row; None where it is a row like the others."""
    if not head or any(is_place(cell) for cell in head[0]):
        return None
    names = [cell.strip() for cell in head[0]]
    below = [cell for row in head[1:] for cell in row]
    told = any(name.lower() in _known(tables) for name in names) or any(map(is_place, below))
    return names if told else None


def _known(tables: ImageTables) -> set[str]:
    asked = (tables.uri_column, tables.id_column)
    return {*URI_COLUMNS, *ID_COLUMNS, *(name.lower() for name in asked if name is not None)}

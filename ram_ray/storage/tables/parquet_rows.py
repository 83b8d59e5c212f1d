"""The images of a Parquet file: a column of bytes, or one of URIs. No pixels are read.

An image in a column of bytes is addressed by row group, row and column, and pinned by the file's
etag: another file has another picture there. Its size is not known before it is read; the plan has
the mean of its row group.
"""

from collections.abc import Iterator
from contextlib import closing
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
from obstore.exceptions import PreconditionError

from ram_ray.config import ImageTables, StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage.object_files import open_object
from ram_ray.storage.reasons import first_line
from ram_ray.storage.sources import OnPassed, SourceObject
from ram_ray.storage.tables.columns import (
    BY_ROW,
    find_bytes_column,
    find_id_column,
    find_named,
    find_uri_column,
)
from ram_ray.storage.tables.rows import WITHOUT_ID, RowReader, text_of
from ram_ray.storage.uris import Row, row_uri, split_member

BATCH_ROWS = 10_000
HEAD_ROWS = 1_000
NO_IMAGES = "table without a column of images"
OF_OTHERS = "table of img2dataset about the tar or folder beside it"
_IMG2DATASET = {"key", "url", "status"}


def list_table(
    table: SourceObject,
    store: StoreConfig,
    tables: ImageTables,
    on_passed: OnPassed,
    *,
    alone: bool,
) -> Iterator[SourceObject]:
    """Yield the images of a Parquet file, in the order of its rows.

    Args:
        alone: the user named this very file, so that a column of URIs counts too, and a file that
            gives no images is an error; else such files are passed over, unless uri_column is set.

    Raises:
        ConfigError: its columns cannot be told.
        UnreachableError: it cannot be read, or is damaged.
    """
    name, place = table.image_id, split_member(table.uri)[0]
    try:
        with (
            closing(open_object(table.uri, store, etag=table.etag)) as source,
            pq.ParquetFile(source, pre_buffer=False, buffer_size=2**20) as file,
        ):
            schema = file.schema_arrow
            column = find_bytes_column(tables, schema, name)
            if column is not None:
                yield from _images(file, column, table, tables, on_passed)
            elif not alone and tables.uri_column is None:
                of_others = _IMG2DATASET <= set(schema.names)
                on_passed(name, OF_OTHERS if of_others else NO_IMAGES)
            else:
                yield from _uris(file, place, tables, on_passed)
    except PreconditionError as error:
        raise UnreachableError(f"{place} was replaced while it was listed: try again.") from error
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise UnreachableError(
            f"The table {place} cannot be read ({first_line(error)}): repair it, or leave it out "
            "(--exclude)."
        ) from error


def _images(
    file: pq.ParquetFile,
    column: str,
    table: SourceObject,
    tables: ImageTables,
    on_passed: OnPassed,
) -> Iterator[SourceObject]:
    place = split_member(table.uri)[0]
    id_column = find_id_column(tables, file.schema_arrow, column, table.image_id)
    number = 0
    for group in range(file.num_row_groups):
        num_rows = file.metadata.row_group(group).num_rows
        size_bytes = _mean_bytes(file, group, column)
        for row, value in enumerate(_ids(file, group, id_column, num_rows)):
            number += 1
            own_id = f"{table.image_id}/{number}" if value is None else text_of(value)
            if not own_id:
                on_passed(f"{table.image_id}/{number}", WITHOUT_ID)
                continue
            uri = row_uri(place, Row(group, row, column))
            yield SourceObject(own_id, uri, table.etag, size_bytes, from_row=True)


def _ids(file: pq.ParquetFile, group: int, column: str | None, num_rows: int) -> Iterator[Any]:
    """Yield the id of each row; None: it is called after its place."""
    if column is None:
        yield from [None] * num_rows
        return
    batches = file.iter_batches(
        batch_size=BATCH_ROWS, row_groups=[group], columns=[column], use_threads=False
    )
    for batch in batches:
        values = batch.column(0)
        # a path that the table leaves open is no id that someone chose
        chosen = not pa.types.is_struct(values.type)
        if not chosen:
            (values,) = values.flatten()
        for value in values.to_pylist():
            yield ("" if chosen else None) if value in (None, "") else value


def _mean_bytes(file: pq.ParquetFile, group: int, column: str) -> int:
    facts = file.metadata.row_group(group)
    for at in range(facts.num_columns):
        chunk = facts.column(at)
        if chunk.path_in_schema == column:
            return chunk.total_uncompressed_size // max(1, facts.num_rows)
    return 0


def _uris(
    file: pq.ParquetFile, place: str, tables: ImageTables, on_passed: OnPassed
) -> Iterator[SourceObject]:
    names = [field.name for field in file.schema_arrow if _is_text(field.type)]
    what = place.rpartition("/")[2]
    if not names:
        raise ConfigError(f"{what} has neither a column of images nor one of URIs.")
    head = next(file.iter_batches(batch_size=HEAD_ROWS, columns=names, use_threads=False), None)
    sample = [list(row.values()) for row in head.to_pylist()] if head is not None else []
    uri_column = find_uri_column(tables, names, sample, what)
    id_column = None
    if tables.id_column not in (None, BY_ROW):
        all_names = file.schema_arrow.names
        id_column = find_named("id_column", str(tables.id_column), all_names, what)
    columns = [uri_column] if id_column in (None, uri_column) else [uri_column, id_column]
    reader = RowReader(place, tables.id_column == BY_ROW, on_passed)
    number = 0
    for batch in file.iter_batches(batch_size=BATCH_ROWS, columns=columns, use_threads=False):
        rows = batch.to_pylist()
        for row in rows:
            number += 1
            image_id = None if id_column is None else text_of(row[id_column])
            found = reader.object_of(row[uri_column], image_id, number)
            if found is not None:
                yield found


def _is_text(kind: pa.DataType) -> bool:
    kind = kind.value_type if pa.types.is_dictionary(kind) else kind
    return pa.types.is_string(kind) or pa.types.is_large_string(kind)

"""The images of a Lance table: rows of a column of bytes, at the version that is the newest now."""

from collections.abc import Iterator

from ram_ray.config import ImageTables, StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.storage.lance_tables import open_lance
from ram_ray.storage.sources import OnPassed, SourceObject
from ram_ray.storage.tables.columns import find_bytes_column, find_id_column
from ram_ray.storage.tables.rows import WITHOUT_ID, text_of
from ram_ray.storage.uris import Row, row_uri, split_member

BATCH_ROWS = 10_000


def list_lance(
    found: SourceObject, store: StoreConfig, tables: ImageTables, on_passed: OnPassed
) -> Iterator[SourceObject]:
    """Yield the images of a table, in its order; of the ids' column alone values are read.

    Raises:
        ConfigError: it has no column of images, or the extra is not installed.
        UnreachableError: it cannot be read.
    """
    place = split_member(found.uri)[0]
    table, etag = open_lance(place, store)
    column = find_bytes_column(tables, table.schema, found.image_id)
    if column is None:
        raise ConfigError(
            f"{found.image_id} has no column of images: name one of bytes with --image-column."
        )
    id_column = find_id_column(tables, table.schema, column, found.image_id)
    outer, _, part = (id_column or "").partition(".")
    number = 0
    if id_column is None:
        for number in range(table.count_rows()):
            own_id = f"{found.image_id}/{number + 1}"
            yield SourceObject(own_id, _uri(place, number, column), etag, 0, from_row=True)
        return
    for batch in table.to_batches(columns=[outer], batch_size=BATCH_ROWS, scan_in_order=True):
        for value in batch.column(0).to_pylist():
            value = value.get(part) if part and value is not None else value
            own_id = text_of(value)
            if not own_id and part:  # a path that the table leaves open
                own_id = f"{found.image_id}/{number + 1}"
            if own_id:
                yield SourceObject(own_id, _uri(place, number, column), etag, 0, from_row=True)
            else:
                on_passed(f"{found.image_id}/{number + 1}", WITHOUT_ID)
            number += 1


def _uri(place: str, row: int, column: str) -> str:
    return row_uri(place, Row(0, row, column))

"""Parquet objects of a store as tables."""

import io
from collections.abc import Sequence

import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray.storage.stores import Store


def read_parquet(store: Store, key: str, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of a Parquet object; `columns`: only these, in this order.

    Raises:
        FileNotFoundError: it is not there.
        UnreachableError: the store cannot be reached.
        pa.ArrowInvalid: it is not a Parquet file.
    """
    return table_of(store.read(key), columns=columns)


def table_of(data: bytes, *, columns: Sequence[str] | None = None) -> pa.Table:
    """Return the rows of a Parquet file that has been read; as `read_parquet`."""
    return pq.read_table(io.BytesIO(data), columns=None if columns is None else list(columns))

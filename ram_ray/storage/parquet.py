"""Parquet objects of a store as tables."""

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
    """Return the rows of a Parquet file that has been read; as `read_parquet`.

    All in the calling thread: a thread of Arrow's that still holds a Python object when the
    interpreter ends takes the process down with it (`pq.read_table` of bytes: SIGABRT, exit code
    134, after the work was done).
    """
    with pq.ParquetFile(pa.BufferReader(data), pre_buffer=False) as file:
        if columns is None:
            return file.read(use_threads=False)
        if missing := [name for name in columns if name not in file.schema_arrow.names]:
            raise pa.ArrowInvalid(f"There is no column {', '.join(missing)}.")
        return file.read(columns=list(columns), use_threads=False).select(list(columns))

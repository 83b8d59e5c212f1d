"""Cells of tables: the bytes of one image, read where the table's index says, and nowhere else.

A row group is read forward, a few rows at a time, and stays open for its next row: the images of a
chunk are neighbours. A Lance table is read at the version that was listed.
"""

import asyncio
import os
import threading
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import IO, Any

import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray.config import StoreConfig
from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.storage.lance_tables import LANCE, open_lance, read_lance_cell
from ram_ray.storage.object_files import open_object
from ram_ray.storage.pins import Body, changed, check_size, local_etag
from ram_ray.storage.reasons import first_line
from ram_ray.storage.uris import Row

MAX_OPEN = 4
"""Row groups that stay open: as many as a worker's chunks in flight may reach into."""
BATCH_ROWS = 8
"""Rows of images that are decoded together."""
_BUFFER_BYTES = 2**20

Again = Callable[[Callable[[], Awaitable[Any]]], Awaitable[Any]]


class TableRows:
    """Reads cells for the fetcher's loop, in its threads; one at a time of each row group."""

    def __init__(self, config: StoreConfig, threads: ThreadPoolExecutor, *, max_bytes: int) -> None:
        self._config = config
        self._threads = threads
        self._max_bytes = max_bytes
        self._open: OrderedDict[tuple[str, int, str, str | None], _Group] = OrderedDict()

    async def read(self, table: str, row: Row, etag: str | None, again: Again) -> Body:
        """Return a cell's bytes.

        Args:
            etag: of the table, as listed; None: not known.
            again: calls a request, and calls it again where that may help.

        Raises:
            ImageError: it is too large, there is no image, or the table is not the listed one.
        """
        key = (table, row.group, row.column, etag)
        group = self._open.setdefault(key, _Group(table, row, etag, self._config))
        self._open.move_to_end(key)
        while len(self._open) > MAX_OPEN:
            self._open.popitem(last=False)[1].retire()
        loop = asyncio.get_running_loop()

        async def once() -> bytes:
            return await loop.run_in_executor(self._threads, group.read, row.row)

        async with group.lock:
            data = await again(once)
        check_size(len(data), self._max_bytes)
        return Body(data, etag)

    def close(self) -> None:
        """Close the tables."""
        while self._open:
            self._open.popitem()[1].retire()


def read_cell(table: str, row: Row, config: StoreConfig) -> bytes:
    """Return the bytes of one cell of a table as it is now; raises as `TableRows.read`."""
    group = _Group(table, row, None, config)
    try:
        return group.read(row.row)
    finally:
        group.close()


class _Group:
    """One column of a row group, read forward."""

    def __init__(self, table: str, row: Row, etag: str | None, config: StoreConfig) -> None:
        self.lock = asyncio.Lock()
        self._busy = threading.Lock()  # a read that timed out may go on in its thread
        self._table, self._etag, self._config = table, etag, config
        self._number, self._column = row.group, row.column
        self._file: IO[bytes] | None = None
        self._batches: Iterator[pa.RecordBatch] = iter(())
        self._first, self._values = 0, pa.array([], pa.binary())
        self._retired = False
        self._lance: Any = None

    def read(self, row: int) -> bytes:
        """Return the bytes of a row, from 0 within the group.

        Raises:
            ImageError: there is no image, or the table is another or damaged.
        """
        try:
            with self._busy:
                value = self._read(row)
        finally:
            self._close_if_retired()
        if value is None:
            raise ImageError(ImageErrorCode.NOT_FOUND, "The row holds no image.")
        return value

    def _read(self, row: int) -> bytes | None:
        if self._table.lower().endswith(LANCE):
            self._lance = self._lance or open_lance(self._table, self._config, etag=self._etag)[0]
            return read_lance_cell(self._lance, row, self._column)
        try:
            if self._file is None or row < self._first:
                self._restart()
            self._check_unchanged()
            while row >= self._first + len(self._values):
                self._first += len(self._values)
                self._values = _binary(next(self._batches))
            value = self._values[row - self._first].as_py()
        except (StopIteration, IndexError):
            self.close()
            raise changed() from None
        except (pa.ArrowException, pa.ArrowInvalid) as error:
            self.close()
            message = f"The table cannot be read: {first_line(error)}."
            raise ImageError(ImageErrorCode.FETCH_FAILED, message) from error
        except BaseException:
            self.close()
            raise
        return value

    def retire(self) -> None:
        """Close now, or after the read that is going on."""
        self._retired = True
        self._close_if_retired()

    def _close_if_retired(self) -> None:
        if self._retired and self._busy.acquire(blocking=False):
            try:
                self.close()
            finally:
                self._busy.release()

    def close(self) -> None:
        """Close the file; the next read opens it again."""
        file, self._file = self._file, None
        self._batches = iter(())
        self._first, self._values = 0, pa.array([], pa.binary())
        if file is not None:
            with suppress(OSError):
                file.close()

    def _restart(self) -> None:
        self.close()
        self._file = open_object(self._table, self._config, etag=self._etag)
        # in this thread alone, and not ahead: `parquet.table_of` says why
        parquet = pq.ParquetFile(self._file, pre_buffer=False, buffer_size=_BUFFER_BYTES)
        if self._number >= parquet.num_row_groups:
            raise changed()
        self._batches = parquet.iter_batches(
            batch_size=BATCH_ROWS,
            row_groups=[self._number],
            columns=[self._column],
            use_threads=False,
        )

    def _check_unchanged(self) -> None:
        """A local file that is written in place has other bytes under the same name."""
        if self._etag is None or self._file is None or "://" in self._table:
            return
        if local_etag(os.fstat(self._file.fileno())) != self._etag:
            raise changed()


def _binary(batch: pa.RecordBatch) -> pa.Array:
    """Return the one column, of a struct its one child: the bytes."""
    if not batch.num_columns:
        raise changed()
    column = batch.column(0)
    if pa.types.is_struct(column.type):
        (column,) = column.flatten()
    return column

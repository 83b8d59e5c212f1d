"""Bytes of single samples: a range of a tar, a row of a Parquet file, or a whole object."""

import io
import os
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import IO, Any, cast

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.exceptions import BaseError

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, ImageError, ImageErrorCode, UnreachableError
from ram_ray.storage.fetching import classify
from ram_ray.storage.stores import describe, open_bucket, split_url

_CONCURRENCY = 16  # requests in flight per reader: a tar range is a few hundred kB
_RETRIES = 5


def open_object(uri: str, store: StoreConfig) -> IO[bytes]:
    """Return a local file or an S3 object as a file to read and seek.

    Raises:
        UnreachableError: it cannot be opened.
    """
    scheme, bucket, path = split_url(uri)
    try:
        if scheme == "file":
            return open(path, "rb")
        raw = open_bucket(bucket, store, max_retries=_RETRIES)
        reader = obstore.open_reader(raw, uri.removeprefix(f"s3://{bucket}/"))
        return cast(IO[bytes], io.BufferedReader(_ObjectFile(reader), 2**20))
    except (BaseError, OSError) as error:
        raise UnreachableError(f"Cannot read {uri}: {describe(error)}") from error


class _ObjectFile(io.RawIOBase):
    """What `io.BufferedReader` needs of an obstore reader."""

    def __init__(self, reader: Any) -> None:
        self._reader = reader

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        data = bytes(self._reader.read(len(buffer)))
        buffer[: len(data)] = data
        return len(data)

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._reader.seek(offset, whence)

    def tell(self) -> int:
        return self._reader.tell()


class SampleReader:
    """Reads samples by their PLACES, many at a time; one failure is one sample's error."""

    def __init__(self, store: StoreConfig) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(_CONCURRENCY, thread_name_prefix="read-sample")
        self._buckets: dict[str, Any] = {}
        self._group: tuple[tuple[str, int], pa.Array] | None = None

    def read_all(self, places: list[dict[str, Any]]) -> list[bytes | ImageError]:
        """Return the bytes of each sample, or why there are none, in order."""
        if any(place["kind"] == "parquet" for place in places):
            return [self._read(place) for place in places]  # they share row groups
        return list(self._threads.map(self._read, places))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, place: dict[str, Any]) -> bytes | ImageError:
        try:
            if place["kind"] == "parquet":
                return self._read_row(place["uri"], place["offset"], place["size"])
            data = self._read_range(place["uri"], place["kind"], place["offset"], place["size"])
        except (BaseError, OSError, pa.ArrowInvalid) as error:
            return classify(error)
        except (UnreachableError, ConfigError) as error:
            return ImageError(ImageErrorCode.FETCH_FAILED, str(error))
        if place["kind"] == "tar" and len(data) < place["size"]:
            return ImageError(ImageErrorCode.TRUNCATED, "The tar ends within this image.")
        return data

    def _read_range(self, uri: str, kind: str, offset: int, size: int) -> bytes:
        scheme, bucket, path = split_url(uri)
        if scheme == "file":
            with open(path, "rb", buffering=0) as file:
                return os.pread(file.fileno(), size, offset) if kind == "tar" else file.read()
        if bucket not in self._buckets:
            self._buckets[bucket] = open_bucket(bucket, self._store, max_retries=_RETRIES)
        key = uri.removeprefix(f"s3://{bucket}/")
        if kind == "tar":
            return bytes(obstore.get_range(self._buckets[bucket], key, start=offset, length=size))
        return bytes(obstore.get(self._buckets[bucket], key).bytes())

    def _read_row(self, uri: str, group: int, row: int) -> bytes:
        if self._group is None or self._group[0] != (uri, group):
            from ram_ray.training.samples import image_column

            with closing(open_object(uri, self._store)) as source, pq.ParquetFile(source) as file:
                column = image_column(file, uri)
                images = file.read_row_group(group, columns=[column])[column].combine_chunks()
            self._group = ((uri, group), images)
        value = self._group[1][row].as_py()
        return value["bytes"] if isinstance(value, dict) else value

"""Bytes of single samples: a range of a tar, a row of a Parquet file, or a whole object.

Tars and Parquet files are read by place, so a file that was replaced after the index was made would
give wrong images under old labels. Each read therefore looks at the member's own header, or at the
row's id.
"""

import os
import tarfile
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import obstore
import pyarrow as pa
import pyarrow.parquet as pq
from obstore.exceptions import BaseError

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, ImageError, ImageErrorCode, UnreachableError
from ram_ray.storage.clients import open_bucket
from ram_ray.storage.fetching import classify
from ram_ray.storage.object_files import open_object
from ram_ray.storage.reading import read_uri
from ram_ray.storage.reasons import first_line
from ram_ray.storage.regular_files import open_regular
from ram_ray.storage.stores import split_url

_CONCURRENCY = 16  # requests in flight per reader: a tar range is a few hundred kB
_RETRIES = 5


class SampleReader:
    """Reads samples by their PLACES, many at a time; one failure is one sample's error."""

    def __init__(self, store: StoreConfig) -> None:
        self._store = store
        self._threads = ThreadPoolExecutor(_CONCURRENCY, thread_name_prefix="read-sample")
        self._buckets: dict[str, Any] = {}
        self._group: tuple[tuple[str, int], pa.Array, pa.Array] | None = None
        """Of the last row group: which, ids, images."""

    def read_all(
        self, places: list[dict[str, Any]]
    ) -> "list[bytes | ImageError | ShardChangedError]":
        """Return the bytes of each sample, or why there are none, in order."""
        if any(place["kind"] == "parquet" for place in places):
            return [self._read(place) for place in places]  # they share row groups
        return list(self._threads.map(self._read, places))

    def close(self) -> None:
        """End the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _read(self, place: dict[str, Any]) -> "bytes | ImageError | ShardChangedError":
        try:
            if place["kind"] == "parquet":
                return self._read_row(place)
            if place["kind"] == "tar":
                return self._read_member(place)
            return self._read_object(place["uri"])
        except ImageError as error:
            return error
        except ShardChangedError as error:
            return error
        except (BaseError, OSError) as error:
            return classify(error)
        except (UnreachableError, ConfigError) as error:
            return ImageError(ImageErrorCode.FETCH_FAILED, str(error))

    def _read_member(self, place: dict[str, Any]) -> bytes:
        uri, start = place["uri"], place["offset"] - tarfile.BLOCKSIZE
        length = tarfile.BLOCKSIZE + place["size"]
        try:
            data = self._read_range(uri, start, length)
        except (BaseError, OSError) as error:
            if classify(error).code is ImageErrorCode.NOT_FOUND:
                raise ShardChangedError(uri, "it is gone") from error
            if self._size(uri) < start + length:  # some stores refuse a range beyond the end
                raise ShardChangedError(uri, f"it ends before {place['image_id']}") from error
            raise
        if len(data) < length:
            raise ShardChangedError(uri, f"it ends before {place['image_id']} does")
        _check_member(data[: tarfile.BLOCKSIZE], place)
        return data[tarfile.BLOCKSIZE :]

    def _read_range(self, uri: str, start: int, length: int) -> bytes:
        scheme, _, path = split_url(uri)
        if scheme == "file":
            with open_regular(path, buffering=0) as file:
                return os.pread(file.fileno(), length, start)
        bucket, key = self._bucket_of(uri)
        return bytes(obstore.get_range(bucket, key, start=start, length=length))

    def _read_object(self, uri: str) -> bytes:
        scheme, _, path = split_url(uri)
        if scheme == "file":
            with open_regular(path, buffering=0) as file:
                return file.read()
        if scheme != "s3":
            return read_uri(uri, self._store)
        bucket, key = self._bucket_of(uri)
        return bytes(obstore.get(bucket, key).bytes())

    def _size(self, uri: str) -> int:
        scheme, _, path = split_url(uri)
        if scheme == "file":
            return os.stat(path).st_size
        return int(obstore.head(*self._bucket_of(uri))["size"])

    def _bucket_of(self, uri: str) -> tuple[Any, str]:
        _, name, _ = split_url(uri)
        if name not in self._buckets:
            self._buckets[name] = open_bucket(name, self._store, max_retries=_RETRIES)
        return self._buckets[name], uri.removeprefix(f"s3://{name}/")

    def _read_row(self, place: dict[str, Any]) -> bytes:
        uri, group, row = place["uri"], place["offset"], place["size"]
        if self._group is None or self._group[0] != (uri, group):
            self._group = ((uri, group), *self._read_group(uri, group))
        _, ids, images = self._group
        if row >= len(ids) or str(ids[row].as_py()) != place["image_id"]:
            raise ShardChangedError(uri, f"row {row} is not {place['image_id']} any more")
        value = images[row].as_py()
        return value["bytes"] if isinstance(value, dict) else value

    def _read_group(self, uri: str, group: int) -> tuple[pa.Array, pa.Array]:
        """Return ids and images of a row group."""
        from ram_ray.training.data.samples import id_column, image_column, read_ids

        try:
            with closing(open_object(uri, self._store)) as source, pq.ParquetFile(source) as file:
                ids = pa.array(read_ids(file, group, id_column(file, uri)))
                column = image_column(file, uri)
                read = file.read_row_group(group, columns=[column], use_threads=False)
                return ids, read[column].combine_chunks()
        except (pa.ArrowInvalid, IndexError, ConfigError) as error:
            raise ShardChangedError(uri, first_line(error)) from error
        except OSError as error:
            if error.errno is None:  # not of the disk: the bytes are no Parquet
                raise ShardChangedError(uri, first_line(error)) from error
            raise
        except UnreachableError as error:
            if isinstance(error.__cause__, FileNotFoundError):
                raise ShardChangedError(uri, "it is gone") from error
            raise


class ShardChangedError(Exception):
    """A tar or Parquet file is not the one that was indexed; the text is a sentence."""

    def __init__(self, uri: str, detail: str) -> None:
        super().__init__(
            f"The shard {uri} is not what it was when the run began ({detail}): put the old file "
            "back and run the same command again, or start another run with another output."
        )


def _check_member(header: bytes, place: dict[str, Any]) -> None:
    """Check that a header in a tar is that of the member that was indexed."""
    name = place["image_id"]
    tar = place["uri"].rsplit("/", 1)[-1]
    member = name.rpartition(f"{tar}/")[2]
    try:
        found = tarfile.TarInfo.frombuf(header, "utf-8", "surrogateescape")
    except tarfile.HeaderError as error:
        raise ShardChangedError(place["uri"], f"{name} does not begin where it did") from error
    # long names and others than ASCII stand in a block of their own; here they are cut
    plain = member.isascii() and "\\x" not in member and len(member) < tarfile.LENGTH_NAME
    if found.size != place["size"] or (plain and found.name.removeprefix("./") != member):
        raise ShardChangedError(place["uri"], f"{found.name} lies where {name} did")

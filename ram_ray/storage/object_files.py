"""An object of any store now: as bytes, or as a file to read and seek (tar headers, Parquet)."""

import io
import os
from typing import IO, Any, cast

import obstore
from obstore.exceptions import PreconditionError

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.storage.again import STORE_ERRORS, until_answered
from ram_ray.storage.bodies import Body, check_length, get_exact_key
from ram_ray.storage.clients import boto3_client, open_bucket
from ram_ray.storage.reasons import describe
from ram_ray.storage.regular_files import open_regular
from ram_ray.storage.stores import split_url
from ram_ray.storage.uris import object_key, obstore_keeps, split_member

Span = tuple[int, int]


def read_uri(uri: str, config: StoreConfig) -> bytes:
    """Return what a `uri` column names: a path, s3://bucket/key, or a member of a tar.

    Raises:
        FileNotFoundError: it is gone.
        UnreachableError: it cannot be read.
    """
    place, part = split_member(uri)
    scheme, bucket, path = split_url(place)
    try:
        if scheme == "file":
            return _read_part(path, part) if part else _read_all(path)
        span = (part[0], sum(part)) if part else None
        return _S3Object(bucket, object_key(place, bucket), config).read(span).data
    except FileNotFoundError:
        raise
    except (*STORE_ERRORS, ValueError) as error:
        raise UnreachableError(f"Cannot read {uri}: {describe(error)}") from error


def open_object(uri: str, store: StoreConfig) -> IO[bytes]:
    """Return a local file or an S3 object as a file to read and seek.

    Reading it raises OSError where its content is replaced meanwhile.

    Raises:
        UnreachableError: it cannot be opened.
    """
    place, _ = split_member(uri)
    scheme, bucket, path = split_url(place)
    try:
        if scheme == "file":
            return open_regular(path)
        found = _S3Object(bucket, object_key(place, bucket), store)
        return cast(IO[bytes], io.BufferedReader(_ObjectFile(found), 2**20))
    except STORE_ERRORS as error:
        raise UnreachableError(f"Cannot read {uri}: {describe(error)}") from error


class _S3Object:
    """An object now: its size, and spans of the content that it has now."""

    def __init__(self, bucket: str, key: str, config: StoreConfig) -> None:
        self._bucket, self._key = bucket, key
        self._raw = open_bucket(bucket, config, max_retries=0) if obstore_keeps(key) else None
        self._exact: Any = None if self._raw else boto3_client(config, tries=1)

    def head(self) -> tuple[str | None, int]:
        """Return etag and size."""
        if self._raw:
            found = until_answered(lambda: obstore.head(cast(Any, self._raw), self._key))
            return found["e_tag"], found["size"]
        told = until_answered(lambda: self._exact.head_object(Bucket=self._bucket, Key=self._key))
        return told["ETag"], told["ContentLength"]

    def read(self, span: Span | None, etag: str | None = None) -> Body:
        """Return all bytes, or those from span[0] before span[1], of the content of `etag`."""
        return until_answered(lambda: self._read(span, etag))

    def _read(self, span: Span | None, etag: str | None) -> Body:
        if self._raw is None:
            return get_exact_key(self._exact, self._bucket, self._key, span, etag)
        options: Any = ({"range": span} if span else {}) | ({"if_match": etag} if etag else {})
        found = obstore.get(self._raw, self._key, options=options)
        data = bytes(found.bytes())
        check_length(data, span[1] - span[0] if span else found.meta["size"])
        return Body(data, found.meta["e_tag"])


class _ObjectFile(io.RawIOBase):
    """What `io.BufferedReader` needs."""

    def __init__(self, found: _S3Object) -> None:
        self._found = found
        self._etag, self._size = found.head()
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        stop = min(self._at + len(buffer), self._size)
        if stop <= self._at:
            return 0
        try:
            data = self._found.read((self._at, stop), self._etag).data
        except PreconditionError as error:
            raise OSError("its content was replaced while it was read") from error
        except FileNotFoundError:
            raise
        except STORE_ERRORS as error:
            raise UnreachableError(f"Reading failed: {describe(error)}") from error
        buffer[: len(data)] = data
        self._at = stop
        return len(data)

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._size}[whence]
        self._at = start + offset
        return self._at

    def tell(self) -> int:
        return self._at


def _read_all(path: str) -> bytes:
    with open_regular(path) as file:
        return file.read()


def _read_part(path: str, part: Span) -> bytes:
    with open_regular(path) as file:
        file.seek(part[0])
        data = file.read(part[1])
    check_length(data, part[1])
    return data

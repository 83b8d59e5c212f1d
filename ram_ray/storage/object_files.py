"""An object of any store now, as a file to read and seek (tar headers, Parquet)."""

import asyncio
import io
import os
from collections.abc import Awaitable, Callable
from typing import IO, Any, Protocol, TypeVar, cast

import obstore
from obstore.exceptions import PreconditionError

from ram_ray.config import StoreConfig
from ram_ray.errors import ImageError, UnreachableError
from ram_ray.storage.again import STORE_ERRORS, until_answered
from ram_ray.storage.bodies import get_exact_key
from ram_ray.storage.clients import boto3_client, open_cloud
from ram_ray.storage.pins import Body, check_length, local_etag
from ram_ray.storage.reasons import describe
from ram_ray.storage.regular_files import open_regular
from ram_ray.storage.stores import split_url
from ram_ray.storage.uris import WEB, object_key, obstore_keeps, split_member
from ram_ray.storage.web.reader import WebReader

MAX_WEB_BYTES = 2**30
"""Of one answer of a web server that is read whole."""
WEB_STALL_S = 30.0

Span = tuple[int, int]
T = TypeVar("T")


def open_object(uri: str, store: StoreConfig, *, etag: str | None = None) -> IO[bytes]:
    """Return a local file or an object as a file to read and seek.

    Reading it raises OSError where its content is replaced meanwhile.

    Args:
        etag: of the content that is wanted; None: of the one that is there.

    Raises:
        UnreachableError: it cannot be opened.
        PreconditionError: it is not the content of `etag`.
    """
    place, _ = split_member(uri)
    scheme, _, path = split_url(place)
    try:
        if scheme == "file":
            return _checked(open_regular(path), etag)
        file = _ObjectFile(object_now(place, store), etag)
        return cast(IO[bytes], io.BufferedReader(file, 2**20))
    except PreconditionError:
        raise
    except (*STORE_ERRORS, ImageError) as error:
        raise UnreachableError(f"Cannot read {uri}: {describe(error)}") from error


def stat_object(uri: str, store: StoreConfig) -> tuple[str | None, int]:
    """Return etag and size in bytes of a file or an object, as a listing gives them.

    Raises:
        UnreachableError: it is not there, or cannot be asked.
    """
    place, _ = split_member(uri)
    scheme, _, path = split_url(place)
    try:
        if scheme == "file":
            with open_regular(path) as file:
                told = os.fstat(file.fileno())
            return local_etag(told), told.st_size
        return object_now(place, store).head()
    except (*STORE_ERRORS, ImageError) as error:
        raise UnreachableError(f"Cannot read {uri}: {describe(error)}") from error


class ObjectNow(Protocol):
    """An object now: its size, and spans of the content that it has now."""

    def head(self) -> tuple[str | None, int]:
        """Return etag and size in bytes."""
        ...

    def read(self, span: Span | None, etag: str | None = None) -> Body:
        """Return all bytes, or those from span[0] before span[1], of the content of `etag`."""
        ...


def object_now(place: str, config: StoreConfig) -> ObjectNow:
    """Return an object of a bucket or of the web.

    Raises:
        ConfigError: the URL's scheme is not one we read.
        UnreachableError: no credentials.
    """
    scheme, bucket, _ = split_url(place)
    if scheme in WEB:
        return _WebObject(place, config)
    return _CloudObject(scheme, bucket, object_key(place, bucket), config)


def _checked(file: IO[bytes], etag: str | None) -> IO[bytes]:
    if etag is not None and local_etag(os.fstat(file.fileno())) != etag:
        file.close()
        raise PreconditionError("it was written again since it was listed")
    return file


class _WebObject:
    """Of a web server; each request on a loop of its own, for the caller's thread has none."""

    def __init__(self, url: str, config: StoreConfig) -> None:
        self._url, self._config = url, config

    def head(self) -> tuple[str | None, int]:
        return self._ask(lambda reader: reader.head(self._url))

    def read(self, span: Span | None, etag: str | None = None) -> Body:
        return Body(*self._ask(lambda reader: reader.get(self._url, span, etag)))

    def _ask(self, request: Callable[[WebReader], Awaitable[T]]) -> T:
        async def once() -> T:
            reader = WebReader(self._config, max_bytes=MAX_WEB_BYTES, stall_s=WEB_STALL_S)
            try:
                return await request(reader)
            finally:
                await reader.close()

        return until_answered(lambda: asyncio.run(once()))


class _CloudObject:
    """Of a bucket."""

    def __init__(self, scheme: str, bucket: str, key: str, config: StoreConfig) -> None:
        self._bucket, self._key = bucket, key
        keeps = scheme != "s3" or obstore_keeps(key)
        self._raw = open_cloud(scheme, bucket, config, max_retries=0) if keeps else None
        self._exact: Any = None if self._raw else boto3_client(config, tries=1)

    def head(self) -> tuple[str | None, int]:
        if self._raw:
            found = until_answered(lambda: obstore.head(cast(Any, self._raw), self._key))
            return found["e_tag"], found["size"]
        told = until_answered(lambda: self._exact.head_object(Bucket=self._bucket, Key=self._key))
        return told["ETag"], told["ContentLength"]

    def read(self, span: Span | None, etag: str | None = None) -> Body:
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

    def __init__(self, found: ObjectNow, etag: str | None) -> None:
        self._found = found
        self._etag, self._size = found.head()
        if etag is not None and self._etag is not None and etag != self._etag:
            raise PreconditionError("it was replaced since it was listed")
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
        except (*STORE_ERRORS, ImageError) as error:
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

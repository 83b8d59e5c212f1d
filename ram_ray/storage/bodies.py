"""The bytes of one object or of a part of it, checked against what was seen of it when listed."""

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

import obstore
from botocore.exceptions import ClientError
from obstore.exceptions import PreconditionError

from ram_ray.config import StoreConfig
from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.storage.again import UnsettledError
from ram_ray.storage.clients import CloudStore, boto3_client, open_cloud
from ram_ray.storage.pins import Body, Pin, changed, check_length, check_size, local_etag
from ram_ray.storage.regular_files import open_regular
from ram_ray.storage.stores import split_url
from ram_ray.storage.uris import WEB, object_key, obstore_keeps, split_member
from ram_ray.storage.web.reader import WebReader

RANGE_BYTES = 8 * 2**20
"""Larger objects are fetched in ranges of this size, several at once."""
RANGES_AT_ONCE = 4
MAX_CHANGES = 3
"""So often an object may be replaced while its ranges are read."""
MAX_STALL_S = 15.0
"""Longest wait for the next bytes before they are asked for again; at most a third of the
image's time, so that there is time to."""
_PIECE_BYTES = 2**20

Bucket = tuple[str, str]
"""Scheme and name."""

T = TypeVar("T")
Again = Callable[[Callable[[], Awaitable[T]]], Awaitable[T]]


class Objects:
    """Reads objects by URI; all its requests are tried once, or by the caller's `again`."""

    def __init__(
        self, config: StoreConfig, threads: ThreadPoolExecutor, *, max_bytes: int, timeout_s: float
    ) -> None:
        self._config = config
        self._threads = threads
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s
        self._stall_s = min(MAX_STALL_S, timeout_s / 3)
        self._buckets: dict[Bucket, CloudStore] = {}
        self._web = WebReader(config, max_bytes=max_bytes, stall_s=self._stall_s)
        self._boto3: Any = None

    async def read(self, uri: str, pin: Pin | None, again: Again[Any]) -> Body:
        """Return what a URI names.

        Args:
            again: calls a request, and calls it again where that may help.

        Raises:
            ImageError: it is too large, or not the pinned content any more.
        """
        place, part = split_member(uri)
        scheme, name, path = split_url(place)
        bucket = (scheme, name)
        if part is not None:
            check_size(part[1], self._max_bytes)
        if scheme == "file":
            limit = self._max_bytes
            return await again(lambda: self._in_thread(read_file, path, part, pin, limit))
        etag = pin.etag if pin else None
        span = (part[0], sum(part)) if part else None
        if scheme in WEB:
            strict = etag if part or (pin and pin.strict) else None
            return await again(lambda: self._from_web(place, span, strict))
        key = object_key(place, name)
        if span is not None:
            return await again(lambda: self._get(bucket, key, span, etag))
        if pin and pin.etag and pin.size_bytes > RANGE_BYTES:
            return await self._in_ranges(bucket, key, pin, again)
        return await again(lambda: self._whole(bucket, key, pin))

    async def close(self) -> None:
        """Close connections."""
        await self._web.close()

    async def _from_web(self, url: str, span: tuple[int, int] | None, etag: str | None) -> Body:
        return Body(*await self._web.get(url, span, etag))

    async def _whole(self, bucket: Bucket, key: str, pin: Pin | None) -> Body:
        body = await self._get(bucket, key)
        if pin is None:
            return body
        if body.etag == pin.etag is not None:
            check_length(body.data, pin.size_bytes)
        elif pin.etag is not None and pin.strict:
            raise changed()
        elif len(body.data) != pin.size_bytes and _md5(body.data) != body.etag:
            # Another content, or a body that was cut on its way and looks whole.
            check_length(body.data, (await self._head(bucket, key))[1])
        return body

    async def _in_ranges(self, bucket: Bucket, key: str, pin: Pin, again: Again[Any]) -> Body:
        etag, size_bytes = pin.etag, pin.size_bytes
        for _ in range(MAX_CHANGES):
            try:
                return Body(await self._ranges(bucket, key, etag, size_bytes, again), etag)
            except PreconditionError:
                if pin.strict:
                    raise changed() from None
            etag, size_bytes = await again(lambda: self._head(bucket, key))
            check_size(size_bytes, self._max_bytes)
        raise ImageError(ImageErrorCode.CHANGED, "It is replaced again and again.")

    async def _ranges(
        self, bucket: Bucket, key: str, etag: str | None, size_bytes: int, again: Again[Any]
    ) -> bytes:
        slots = asyncio.Semaphore(RANGES_AT_ONCE)

        async def one(start: int) -> bytes:
            span = (start, min(start + RANGE_BYTES, size_bytes))
            async with slots:
                return (await again(lambda: self._get(bucket, key, span, etag))).data

        starts = range(0, size_bytes, RANGE_BYTES)
        tasks = [asyncio.ensure_future(one(start)) for start in starts]
        try:
            return b"".join(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()

    async def _get(
        self, bucket: Bucket, key: str, span: tuple[int, int] | None = None, etag: str | None = None
    ) -> Body:
        """Ask once for an object or a span of its bytes.

        Raises:
            PreconditionError: it is not the content of `etag`.
        """
        if not obstore_keeps(key):
            exact = self._exact(bucket)
            return await self._in_thread(
                get_exact_key, exact, bucket[1], key, span, etag, self._max_bytes
            )
        options: Any = ({"range": span} if span else {}) | ({"if_match": etag} if etag else {})
        async with self._unless_stalled():
            found = await obstore.get_async(self._bucket(bucket), key, options=options)
        size_bytes = found.meta["size"]
        if span is None:
            check_size(size_bytes, self._max_bytes)
        pieces: list[Any] = []
        stream = aiter(found.stream(min_chunk_size=_PIECE_BYTES))
        while True:
            async with self._unless_stalled():
                piece = await anext(stream, None)
            if piece is None:
                break
            pieces.append(piece)
        data = b"".join(pieces)
        check_length(data, span[1] - span[0] if span else size_bytes)
        return Body(data, found.meta["e_tag"])

    async def _head(self, bucket: Bucket, key: str) -> tuple[str | None, int]:
        """Return etag and size."""
        if obstore_keeps(key):
            found = await obstore.head_async(self._bucket(bucket), key)
            return found["e_tag"], found["size"]
        head = partial(self._exact(bucket).head_object, Bucket=bucket[1], Key=key)
        told = await self._in_thread(head)
        return told["ETag"], told["ContentLength"]

    @asynccontextmanager
    async def _unless_stalled(self) -> AsyncIterator[None]:
        try:
            async with asyncio.timeout(self._stall_s):
                yield
        except TimeoutError as error:
            raise UnsettledError(f"nothing came for {self._stall_s:g} s") from error

    def _bucket(self, name: Bucket) -> CloudStore:
        if name not in self._buckets:
            self._buckets[name] = open_cloud(
                *name, self._config, max_retries=0, timeout=timedelta(seconds=self._timeout_s)
            )
        return self._buckets[name]

    def _exact(self, bucket: Bucket) -> Any:
        if bucket[0] != "s3":
            message = "Of keys with odd slashes or control characters only S3's are read."
            raise ImageError(ImageErrorCode.FETCH_FAILED, message)
        if self._boto3 is None:  # made on the one loop: boto3's factory is not thread-safe
            self._boto3 = boto3_client(self._config, tries=1)
        return self._boto3

    async def _in_thread(self, work: Callable[..., T], *args: object) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._threads, work, *args)


def get_exact_key(
    client: Any,
    bucket: str,
    key: str,
    span: tuple[int, int] | None = None,
    etag: str | None = None,
    max_bytes: int | None = None,
) -> Body:
    """Ask boto3's client once for any key, as `Objects` asks obstore.

    Raises:
        PreconditionError: it is not the content of `etag`.
        FileNotFoundError: there is no such key.
    """
    wanted = {"Range": f"bytes={span[0]}-{span[1] - 1}"} if span else {}
    wanted |= {"IfMatch": etag} if etag else {}
    try:
        found = client.get_object(Bucket=bucket, Key=key, **wanted)
    except ClientError as error:
        if error.response["ResponseMetadata"]["HTTPStatusCode"] == 412:
            raise PreconditionError(str(error)) from error
        if error.response["Error"]["Code"] == "NoSuchKey":
            raise FileNotFoundError(key) from error
        raise
    if span is None and max_bytes is not None:
        check_size(found["ContentLength"], max_bytes)
    data = found["Body"].read()
    check_length(data, span[1] - span[0] if span else found["ContentLength"])
    return Body(data, found["ETag"])


def read_file(path: str, part: tuple[int, int] | None, pin: Pin | None, max_bytes: int) -> Body:
    """Return a local file or a part of it.

    Raises:
        ImageError: it is too large, or not the pinned content any more.
        SpecialFileError: it is a pipe, a device or a socket.
    """
    with open_regular(path) as file:
        told = os.fstat(file.fileno())
        etag = local_etag(told)
        fits = pin is None or pin.etag in (None, etag)
        if pin is not None and pin.etag is not None and part is None:
            fits = fits and pin.size_bytes == told.st_size
        if pin is not None and not fits and (pin.strict or part is not None):
            raise changed()
        start, size_bytes = part or (0, told.st_size)
        check_size(size_bytes, max_bytes)
        file.seek(start)
        data = file.read(size_bytes)
        check_length(data, size_bytes)
        return Body(data, etag)


def _md5(data: bytes) -> str:
    return f'"{hashlib.md5(data, usedforsecurity=False).hexdigest()}"'

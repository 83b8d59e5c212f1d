"""Fetch image bytes: many requests in flight, every failure one error code, nothing lost.

A URI names a whole object, or the bytes of a member of a tar: `PATH.tar#OFFSET+SIZE`.
"""

import asyncio
import errno
import os
import random
import re
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import obstore
from botocore.exceptions import BotoCoreError, ClientError
from obstore.exceptions import BaseError, PermissionDeniedError, UnauthenticatedError
from obstore.store import S3Store

from ram_ray.config import StoreConfig
from ram_ray.errors import ImageError, ImageErrorCode, UnreachableError
from ram_ray.storage.regular_files import SpecialFileError, open_regular
from ram_ray.storage.sources import boto3_client
from ram_ray.storage.stores import describe, first_line, open_bucket, split_url

MAX_ATTEMPTS = 5
"""Tries per image on throttling, resets and server errors; a missing key is final at once."""
BACKOFF_S = 0.1
"""First pause between tries; doubles, with full jitter, up to MAX_BACKOFF_S."""
MAX_BACKOFF_S = 5.0


_MEMBER = re.compile(r"(?P<tar>.+\.(?i:tar))#(?P<offset>\d+)\+(?P<size>\d+)", re.DOTALL)


def member_uri(tar_uri: str, offset: int, size: int) -> str:
    """Return the URI of some bytes of a tar: where a member's content lies."""
    return f"{tar_uri}#{offset}+{size}"


def split_member(uri: str) -> tuple[str, tuple[int, int] | None]:
    """Return the object's URI, and (offset, size) where only a part of a tar is meant."""
    match = _MEMBER.fullmatch(uri)
    if match is None:
        return uri, None
    return match["tar"], (int(match["offset"]), int(match["size"]))


@dataclass(frozen=True, slots=True)
class Fetched:
    """Bytes of one image or why there are none, and how many tries it took."""

    data: bytes | None
    error: ImageError | None
    attempts: int


@dataclass(frozen=True, slots=True)
class FetchLimits:
    """Bounds of one fetch."""

    timeout_s: float
    """Wall clock for one image, retries included."""
    max_image_bytes: int
    concurrency: int
    """Requests in flight."""


class Fetcher:
    """Fetches URIs concurrently on a thread of its own; hand results out as futures."""

    def __init__(self, config: StoreConfig, limits: FetchLimits) -> None:
        self._config = config
        self._limits = limits
        self._buckets: dict[str, S3Store] = {}
        self._threads = ThreadPoolExecutor(8, thread_name_prefix="fetch-file")
        self._loop = asyncio.new_event_loop()
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._thread = Thread(target=self._run, name="fetch", daemon=True)
        self._thread.start()

    def fetch_all(self, uris: Sequence[str]) -> list[Future[Fetched]]:
        """Start fetching; the futures never raise, they hold a `Fetched`."""
        return [asyncio.run_coroutine_threadsafe(self._fetch(uri), self._loop) for uri in uris]

    def close(self) -> None:
        """Stop the thread; fetches still in flight are dropped."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _fetch(self, uri: str) -> Fetched:
        attempts = 0
        async with self._slots:
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    while True:
                        attempts += 1
                        try:
                            return Fetched(await self._read(uri), None, attempts)
                        except (BaseError, BotoCoreError, ClientError, OSError) as error:
                            failure = classify(error)
                            if failure.code != ImageErrorCode.FETCH_FAILED:
                                return Fetched(None, failure, attempts)
                            if attempts == MAX_ATTEMPTS:
                                return Fetched(None, failure, attempts)
                        await asyncio.sleep(_backoff_s(attempts))
            except ImageError as error:
                return Fetched(None, error, attempts)
            except UnreachableError as error:  # this node has no credentials
                return Fetched(None, ImageError(ImageErrorCode.ACCESS_DENIED, str(error)), attempts)
            except TimeoutError:
                message = f"No answer within {self._limits.timeout_s:g} s."
                error = ImageError(ImageErrorCode.FETCH_TIMEOUT, message)
                return Fetched(None, error, attempts)

    async def _read(self, uri: str) -> bytes:
        uri, part = split_member(uri)
        scheme, bucket, path = split_url(uri)
        if part is not None:
            _check_size(part[1], self._limits.max_image_bytes)
        if scheme == "file":
            limit = self._limits.max_image_bytes
            return await self._in_thread(_read_file, path, limit, part)
        key = uri.removeprefix(f"s3://{bucket}/")
        store = self._buckets.get(bucket)
        if store is None:
            # No retries inside obstore: they are counted here, and reported.
            store = open_bucket(bucket, self._config, max_retries=0)
            self._buckets[bucket] = store
        if part is not None:
            offset, size = part
            return bytes(await obstore.get_range_async(store, key, start=offset, length=size))
        try:
            result = await obstore.get_async(store, key)
        except ValueError:  # a key obstore cannot express, such as "a//b.jpg"
            limit = self._limits.max_image_bytes
            return await self._in_thread(_read_exact_key, bucket, key, self._config, limit)
        _check_size(result.meta["size"], self._limits.max_image_bytes)
        return bytes(await result.bytes_async())

    async def _in_thread(self, work: Callable[..., Any], *args: object) -> Any:
        return await self._loop.run_in_executor(self._threads, work, *args)


def classify(error: BaseException) -> ImageError:
    """Name a store's failure; FETCH_FAILED means that trying again may help."""
    text = str(error)
    if isinstance(error, SpecialFileError):
        return ImageError(ImageErrorCode.NOT_AN_IMAGE, f"{text}.")
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return ImageError(ImageErrorCode.NOT_FOUND, "It is a link that leads back to itself.")
    missing = "NoSuchKey" in text or "NoSuchBucket" in text
    if isinstance(error, FileNotFoundError) or missing:
        return ImageError(ImageErrorCode.NOT_FOUND, "It was listed, but is gone.")
    denied = (PermissionDeniedError, UnauthenticatedError, PermissionError)
    if isinstance(error, denied) or "AccessDenied" in text or "InvalidAccessKeyId" in text:
        return ImageError(ImageErrorCode.ACCESS_DENIED, "The store denies access to it.")
    if isinstance(error, (IsADirectoryError, NotADirectoryError)):
        return ImageError(ImageErrorCode.NOT_FOUND, "It is not a file any more.")
    return ImageError(ImageErrorCode.FETCH_FAILED, f"Reading failed: {first_line(error)}.")


def read_uri(uri: str, config: StoreConfig) -> bytes:
    """Return what a `uri` column names: a path, s3://bucket/key, or a member of a tar.

    Raises:
        FileNotFoundError: it is gone.
        UnreachableError: it cannot be read.
    """
    uri, part = split_member(uri)
    scheme, bucket, path = split_url(uri)
    try:
        if scheme == "file":
            return _read_part(path, part) if part else Path(path).read_bytes()
        store = open_bucket(bucket, config, max_retries=3)
        key = uri.removeprefix(f"s3://{bucket}/")
        if part is not None:
            return bytes(obstore.get_range(store, key, start=part[0], length=part[1]))
        return bytes(obstore.get(store, key).bytes())
    except FileNotFoundError:
        raise
    except (BaseError, OSError, ValueError) as error:
        raise UnreachableError(f"Cannot read {uri}: {describe(error)}") from error


def _read_file(path: str, max_bytes: int, part: tuple[int, int] | None = None) -> bytes:
    if part is not None:
        return _read_part(path, part)
    with open_regular(path) as file:
        _check_size(os.fstat(file.fileno()).st_size, max_bytes)
        return file.read(max_bytes + 1)


def _read_part(path: str, part: tuple[int, int]) -> bytes:
    with open_regular(path) as file:
        file.seek(part[0])
        return file.read(part[1])


def _read_exact_key(bucket: str, key: str, config: StoreConfig, max_bytes: int) -> bytes:
    response = boto3_client(config).get_object(Bucket=bucket, Key=key)
    _check_size(response["ContentLength"], max_bytes)
    return response["Body"].read()


def _check_size(size_bytes: int, max_bytes: int) -> None:
    if size_bytes > max_bytes:
        message = f"{size_bytes} bytes; the limit is {max_bytes}."
        raise ImageError(ImageErrorCode.TOO_LARGE, message)


def _backoff_s(attempts: int) -> float:
    return random.uniform(0, min(MAX_BACKOFF_S, BACKOFF_S * 2**attempts))

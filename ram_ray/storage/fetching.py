"""Fetch image bytes: many requests in flight, every failure one error code, nothing lost."""

import asyncio
import errno
from collections.abc import Awaitable, Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from threading import Thread
from typing import Any

from obstore.exceptions import PermissionDeniedError, PreconditionError, UnauthenticatedError

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, ImageError, ImageErrorCode, UnreachableError
from ram_ray.storage.again import STORE_ERRORS, may_help, pause_s
from ram_ray.storage.bodies import Objects
from ram_ray.storage.pins import Body, Pin, changed
from ram_ray.storage.reasons import first_line
from ram_ray.storage.regular_files import SpecialFileError
from ram_ray.storage.table_rows import TableRows
from ram_ray.storage.uris import split_row

MAX_ATTEMPTS = 10
"""Tries per request where trying again may help; a missing key is final at once. Where a fifth of
all answers fails, one image in ten million is given up."""
_THREADS = 16
"""For local files, and for keys that obstore does not keep."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """Bytes of one image or why there are none, and how many tries it took."""

    data: bytes | None
    error: ImageError | None
    attempts: int
    """Of the request that took most."""
    etag: str | None = None
    """Of these bytes, where they are not the content that was listed."""


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
        self._limits = limits
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="fetch-file")
        self._objects = Objects(
            config, self._threads, max_bytes=limits.max_image_bytes, timeout_s=limits.timeout_s
        )
        self._rows = TableRows(config, self._threads, max_bytes=limits.max_image_bytes)
        self._loop = asyncio.new_event_loop()
        self._slots = asyncio.Semaphore(limits.concurrency)
        self._thread = Thread(target=self._run, name="fetch", daemon=True)
        self._thread.start()

    def fetch_all(
        self, uris: Sequence[str], pins: Sequence[Pin | None] | None = None
    ) -> list[Future[Fetched]]:
        """Start fetching; the futures never raise, they hold a `Fetched`.

        Args:
            pins: what was seen of each when it was listed; None: nothing.
        """
        return [
            asyncio.run_coroutine_threadsafe(self._fetch(uri, pin), self._loop)
            for uri, pin in zip(uris, pins or [None] * len(uris), strict=True)
        ]

    def close(self) -> None:
        """Stop the thread; fetches still in flight are dropped."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _run(self) -> None:
        self._loop.run_forever()
        for task in asyncio.all_tasks(self._loop):
            task.cancel()
        self._rows.close()
        self._loop.run_until_complete(self._objects.close())
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _fetch(self, uri: str, pin: Pin | None) -> Fetched:
        tries = _Tries()
        async with self._slots:
            try:
                async with asyncio.timeout(self._limits.timeout_s):
                    body = await self._read(uri, pin, tries)
            except ImageError as error:
                failure = error
            except ConfigError as error:  # the URI that a list gives is none
                failure = ImageError(ImageErrorCode.FETCH_FAILED, str(error))
            except UnreachableError as error:
                failure = _unreachable(error)
            except TimeoutError:
                message = f"No answer within {self._limits.timeout_s:g} s."
                failure = ImageError(ImageErrorCode.FETCH_TIMEOUT, message)
            except STORE_ERRORS as error:
                failure = classify(error)
            else:
                listed = pin is None or pin.etag is None or pin.etag == body.etag
                return Fetched(body.data, None, tries.most, None if listed else body.etag)
            return Fetched(None, failure, tries.most)

    async def _read(self, uri: str, pin: Pin | None, tries: "_Tries") -> Body:
        cell = split_row(uri)
        if cell is not None:
            table, row = cell
            etag = pin.etag if pin else None
            return await self._rows.read(table, row, etag, tries.until_answered)
        return await self._objects.read(uri, pin, tries.until_answered)


class _Tries:
    """Sends the requests of one image, and again where that may help; counts."""

    def __init__(self) -> None:
        self.most = 0

    async def until_answered(self, request: Callable[[], Awaitable[Any]]) -> Any:
        attempts = 0
        while True:
            attempts += 1
            self.most = max(self.most, attempts)
            try:
                return await request()
            except STORE_ERRORS as error:
                if attempts == MAX_ATTEMPTS or not may_help(error):
                    raise
            await asyncio.sleep(pause_s(attempts))


def _unreachable(error: UnreachableError) -> ImageError:
    """Name the failure of a container; without a cause, this node has no credentials."""
    if isinstance(error.__cause__, STORE_ERRORS):
        return classify(error.__cause__)
    return ImageError(ImageErrorCode.ACCESS_DENIED, str(error))


def classify(error: BaseException) -> ImageError:
    """Name a store's failure: the one that is final, or that outlasted the tries."""
    text = str(error)
    if isinstance(error, SpecialFileError):
        return ImageError(ImageErrorCode.NOT_AN_IMAGE, f"{text}.")
    if isinstance(error, OSError) and error.errno == errno.ELOOP:
        return ImageError(ImageErrorCode.NOT_FOUND, "It is a link that leads back to itself.")
    missing = "NoSuchKey" in text or "NoSuchBucket" in text
    if isinstance(error, FileNotFoundError) or missing:
        return ImageError(ImageErrorCode.NOT_FOUND, "It was listed, but is gone.")
    if isinstance(error, PreconditionError) or "InvalidRange" in text:
        return changed()
    denied = (PermissionDeniedError, UnauthenticatedError, PermissionError)
    if isinstance(error, denied) or "AccessDenied" in text or "InvalidAccessKeyId" in text:
        return ImageError(ImageErrorCode.ACCESS_DENIED, "The store denies access to it.")
    if isinstance(error, (IsADirectoryError, NotADirectoryError)):
        return ImageError(ImageErrorCode.NOT_FOUND, "It is not a file any more.")
    return ImageError(ImageErrorCode.FETCH_FAILED, f"Reading failed: {first_line(error)}.")

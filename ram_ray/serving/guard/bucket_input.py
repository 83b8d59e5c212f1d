"""Images in S3 buckets that the operator has named: s3://bucket/key, Rekognition's S3Object."""

import asyncio
from collections.abc import Callable

import obstore
from botocore.exceptions import BotoCoreError
from obstore.exceptions import BaseError
from obstore.store import S3Store

from ram_ray.config import StoreConfig
from ram_ray.errors import ImageError, ImageErrorCode, UnreachableError
from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.problems import Problem
from ram_ray.storage.fetching import classify
from ram_ray.storage.stores import open_bucket

SCHEME = "s3://"
_RETRIES = 2


class BucketReader:
    """Reads objects with the server's own credentials, of the named buckets only."""

    def __init__(self, buckets: tuple[str, ...], store: StoreConfig, max_bytes: int) -> None:
        self._buckets = buckets
        self._store = store
        self._max_bytes = max_bytes
        self._open: dict[str, S3Store] = {}

    async def read(self, url: str, take_bytes: Callable[[int], None]) -> bytes:
        """Return an object.

        Args:
            url: s3://bucket/key; the key is taken as it is.
            take_bytes: holds room; called once the size is known, before the bytes come.

        Raises:
            Problem: url_not_allowed; what `take_bytes` raises.
            ImageError: not_found, access_denied, fetch_failed, too_large.
        """
        bucket, _, key = url.removeprefix(SCHEME).partition("/")
        if bucket not in self._buckets or not key:
            message = "This server does not read that bucket."
            raise Problem(RequestErrorCode.URL_NOT_ALLOWED, message)
        try:
            if bucket not in self._open:  # looks for credentials
                self._open[bucket] = await asyncio.to_thread(
                    open_bucket, bucket, self._store, max_retries=_RETRIES
                )
            found = await obstore.get_async(self._open[bucket], key)
            size = found.meta["size"]
            if size > self._max_bytes:
                message = f"The file has more than {self._max_bytes} bytes."
                raise ImageError(ImageErrorCode.TOO_LARGE, message)
            take_bytes(size)
            return bytes(await found.bytes_async())
        except UnreachableError as error:
            raise ImageError(ImageErrorCode.ACCESS_DENIED, str(error)) from None
        except (BaseError, BotoCoreError, OSError, ValueError) as error:
            failure = classify(error)
            if failure.code is ImageErrorCode.NOT_FOUND:
                failure = ImageError(failure.code, "There is no such object.")
            raise failure from None

"""An object of any store as a file to read and seek: headers of a tar, one column of a Parquet."""

import io
from typing import IO, Any, cast

import obstore
from obstore.exceptions import BaseError

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.storage.regular_files import open_regular
from ram_ray.storage.stores import describe, open_bucket, split_url

_RETRIES = 5


def open_object(uri: str, store: StoreConfig) -> IO[bytes]:
    """Return a local file or an S3 object as a file to read and seek.

    Raises:
        UnreachableError: it cannot be opened.
    """
    scheme, bucket, path = split_url(uri)
    try:
        if scheme == "file":
            return open_regular(path)
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

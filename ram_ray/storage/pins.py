"""What was seen of an object when it was listed, and whether bytes are those.

A body that is shorter than it should be is an `UnsettledError`: whoever asks again gets the rest.
"""

import os
from dataclasses import dataclass

from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.storage.again import UnsettledError


@dataclass(frozen=True, slots=True)
class Pin:
    """What was seen of an object when it was listed."""

    etag: str | None
    """The store's; of a local file `local_etag`; None: not known. Of a part: the container's."""
    size_bytes: int
    """Of the object; of a part its own."""
    strict: bool = False
    """Another content is an error, `changed`, and not taken."""


@dataclass(frozen=True, slots=True)
class Body:
    """Bytes, and which content of the object they are of."""

    data: bytes
    etag: str | None


def local_etag(told: os.stat_result) -> str:
    """Return what a local file is pinned by, beside its size: when it was last written, in ns."""
    return f"mtime:{told.st_mtime_ns}"


def changed() -> ImageError:
    """Return the error of an object that is not the one that was listed."""
    return ImageError(ImageErrorCode.CHANGED, "It is not the content that was listed.")


def check_size(size_bytes: int, max_bytes: int) -> None:
    """Raise ImageError where an object is larger than the limit."""
    if size_bytes > max_bytes:
        message = f"{size_bytes} bytes; the limit is {max_bytes}."
        raise ImageError(ImageErrorCode.TOO_LARGE, message)


def check_length(data: bytes, size_bytes: int) -> None:
    """Raise UnsettledError where a body is not as long as it should be."""
    if len(data) != size_bytes:
        raise UnsettledError(f"{len(data)} of {size_bytes} bytes came")

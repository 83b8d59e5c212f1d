"""What can go wrong, in two families: bad images are rows, everything else is an exception.

RamRayError                 exit code
|-- ConfigError             2   wrong usage or configuration; nothing was written
|-- UnreachableError        5   a source, model or cluster cannot be reached
|   `-- DiskFullError       4   the output's disk is full; make room and run again to resume
|-- IncompleteRunError      4   some shards are not committed; run again to resume
`-- LeaseHeldError          2   another driver works on this output

ImageError                  never leaves a run: becomes a quarantine row with an ImageErrorCode
"""

import errno
from enum import StrEnum


class ImageErrorCode(StrEnum):
    """Why an image could not be tagged. Closed: the values of `error_code` in quarantine files."""

    NOT_FOUND = "not_found"  # listed, but gone when fetched
    ACCESS_DENIED = "access_denied"
    FETCH_TIMEOUT = "fetch_timeout"
    FETCH_FAILED = "fetch_failed"  # network or store trouble that outlasted the retries
    CHANGED = "changed"  # not the content that was listed, and only that one is wanted
    EMPTY = "empty"  # zero bytes
    NOT_AN_IMAGE = "not_an_image"
    UNSUPPORTED_FORMAT = "unsupported_format"  # an image, of a format or variant we do not read
    TRUNCATED = "truncated"
    CORRUPT = "corrupt"
    TOO_LARGE = "too_large"  # bytes, pixels or decoder memory above the limit
    DECODE_TIMEOUT = "decode_timeout"
    DECODE_CRASH = "decode_crash"  # the decoder process died on it
    MODEL_ERROR = "model_error"  # the model process died on it, repeatedly


class ImageError(Exception):
    """One image failed; `code` says how, the text says why in one sentence."""

    def __init__(self, code: ImageErrorCode, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.message = message

    def __reduce__(self) -> tuple[type, tuple[ImageErrorCode, str]]:
        return (ImageError, (self.code, self.message))


class RamRayError(Exception):
    """Base of the errors a user sees: one sentence that says what to do."""

    exit_code = 1


class ConfigError(RamRayError, ValueError):
    """A setting is wrong; the message names the field, the value, and what is allowed."""

    exit_code = 2


class LeaseHeldError(RamRayError):
    """Another driver is working on this output."""

    exit_code = 2


class IncompleteRunError(RamRayError):
    """Some shards could not be committed; what is committed stays, run again to resume."""

    exit_code = 4


class UnreachableError(RamRayError):
    """A source, output, model or cluster cannot be reached or read."""

    exit_code = 5


class DiskFullError(UnreachableError):
    """The output's disk has no room left: every further try would fail as well."""

    exit_code = 4


def is_full_disk(error: BaseException) -> bool:
    """Tell whether there was no room to write, or none that this user may take."""
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return True
    text = str(error)  # obstore passes on the number alone
    return any(f"os error {number})" in text for number in (errno.ENOSPC, errno.EDQUOT))

"""Trying again: which failures of a store that may help, how often, and with what pauses.

obstore and boto3 have retries of their own, which are off: they neither read a body again that
broke off, nor send a second create or delete after a broken connection.
"""

import errno
import random
import re
import time
from collections.abc import Callable
from typing import TypeVar

from botocore.exceptions import (
    BotoCoreError,
    ClientError,
    NoCredentialsError,
    ParamValidationError,
)
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    InvalidPathError,
    NotModifiedError,
    NotSupportedError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
    UnknownConfigurationKeyError,
)

from ram_ray.errors import is_full_disk
from ram_ray.storage.regular_files import SpecialFileError

TRIES = 8
"""Of one request of a run's own objects. Where a fifth of all answers fails, one request in
400,000 is given up."""
FIRST_PAUSE_S = 0.1
"""Most before the second try; doubles from try to try, with full jitter, up to MAX_PAUSE_S."""
MAX_PAUSE_S = 5.0

_FINAL = (
    AlreadyExistsError, FileNotFoundError, InvalidPathError, IsADirectoryError, NotADirectoryError,
    NoCredentialsError, NotModifiedError, NotSupportedError, ParamValidationError,
    PermissionDeniedError, PermissionError, PreconditionError, SpecialFileError,
    UnauthenticatedError, UnknownConfigurationKeyError,
)  # fmt: skip
_FINAL_CODES = ("AccessDenied", "InvalidAccessKeyId", "NoSuchBucket", "SignatureDoesNotMatch")
_PASSING_CODES = ("RequestTimeout", "SlowDown", "Throttl", "ConditionalRequestConflict")
"""Codes of S3 that pass, whatever the status."""
_PASSING_STATUS = (408, 409, 425, 429)
_STATUS = re.compile(r"status code: (\d{3})")

STORE_ERRORS = (BaseError, BotoCoreError, ClientError, OSError)
"""What a request of a store fails with."""

T = TypeVar("T")


class UnsettledError(OSError):
    """An answer that cannot be believed or acted upon yet: asking again settles it."""


def may_help(error: BaseException) -> bool:
    """Tell whether a request that failed like this may go well when it is sent again."""
    text = str(error)
    if is_full_disk(error) or (isinstance(error, OSError) and error.errno == errno.ELOOP):
        return False
    if isinstance(error, _FINAL) or any(code in text for code in _FINAL_CODES):
        return False
    status = _status(error, text)
    if status is None:  # no answer, half an answer, or one that cannot be read
        return True
    passing = status >= 500 or status in _PASSING_STATUS
    return passing or any(code in text for code in _PASSING_CODES)


def _status(error: BaseException, text: str) -> int | None:
    if isinstance(error, ClientError):
        return error.response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    found = _STATUS.search(text) if isinstance(error, BaseError) else None
    return int(found[1]) if found else None


def pause_s(tries: int) -> float:
    """Return how long to wait after so many tries, in seconds."""
    return random.uniform(0, min(MAX_PAUSE_S, FIRST_PAUSE_S * 2**tries))


def until_answered(request: Callable[[], T]) -> T:
    """Return what `request` returns, sending it again where that may help; at most TRIES times."""
    for tries in range(1, TRIES):
        try:
            return request()
        except STORE_ERRORS as error:
            if not may_help(error):
                raise
        time.sleep(pause_s(tries))
    return request()

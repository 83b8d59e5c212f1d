"""Why a store cannot be reached, in one sentence that says what to do."""

import requests
from botocore.exceptions import NoCredentialsError
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)

from ram_ray.errors import DiskFullError, UnreachableError, is_full_disk

NO_CREDENTIALS = (
    "there are no credentials: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, configure an AWS "
    "profile, or pass --anonymous for a public bucket."
)


class Reachable:
    """Turns store errors into one sentence; leaves the answers callers act upon alone."""

    def __init__(self, what: str, url: str) -> None:
        self._what = what
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, _type: object, error: BaseException | None, _trace: object) -> None:
        answers = (FileNotFoundError, AlreadyExistsError, PreconditionError)
        if isinstance(error, answers) and "NoSuchBucket" not in str(error):
            return
        if isinstance(error, (BaseError, OSError)):
            if is_full_disk(error):
                raise DiskFullError(
                    f"The disk of {self._url} is full: make room and run the same command again "
                    "to resume."
                ) from error
            raise UnreachableError(f"{self._what}: {describe(error)}") from error


def describe(error: BaseException) -> str:
    """Say in one sentence what a store error means and what to do about it."""
    text = str(error)
    if "NoSuchBucket" in text:
        return "there is no such bucket."
    if isinstance(error, UnauthenticatedError) or "InvalidAccessKeyId" in text:
        return "the server does not accept the credentials."
    if isinstance(error, NoCredentialsError):
        return NO_CREDENTIALS
    if isinstance(error, PermissionDeniedError) or "AccessDenied" in text:
        return "access is denied; check the credentials and the bucket's policy."
    if "SignatureDoesNotMatch" in text:
        return "the secret key does not fit the access key."
    unreachable = isinstance(error, (requests.ConnectionError, requests.Timeout))
    if unreachable or "error sending request" in text or "dns error" in text.lower():
        return "the server cannot be reached; check --endpoint-url and the network."
    return f"{first_line(error)}."


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, bounded, without its final full stop."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(" .")

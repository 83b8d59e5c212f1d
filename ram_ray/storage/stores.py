"""One way to reach object stores: folders and s3:// prefixes, through obstore.

A `Store` is where a run writes. It creates objects only if they are absent, which is what makes
commits exclusive; a server that ignores that condition is refused by `probe_create_if_absent`.
"""

import os
import uuid
from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from urllib.parse import unquote_to_bytes

import obstore
from obstore.exceptions import (
    AlreadyExistsError,
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import LocalStore, S3Store

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, DiskFullError, UnreachableError, is_full_disk

CONTROL_TIMEOUT = timedelta(seconds=30)
"""Per request of a run's own small objects; image fetches have their own deadline."""


def open_store(url: str, config: StoreConfig, *, create: bool = False) -> "Store":
    """Open a folder or an s3://bucket/prefix.

    Args:
        url: a path, a file:// URL, or s3://bucket/prefix.
        create: make a missing folder.

    Raises:
        ConfigError: the URL's scheme is not one we read.
        UnreachableError: the folder does not exist (and `create` is off), or is not a folder.
    """
    scheme, bucket, path = split_url(url)
    if scheme == "s3":
        return Store(url, open_bucket(bucket, config, max_retries=5), path)
    folder = Path(path)
    if folder.exists() and not folder.is_dir():
        raise UnreachableError(f"{path} is a file; a folder is needed.")
    if not folder.is_dir() and not create:
        raise UnreachableError(f"There is no folder {path}.")
    try:
        return Store(url, LocalStore(folder, mkdir=create), "")
    except (BaseError, OSError) as error:
        raise UnreachableError(f"Cannot use folder {path}: {first_line(error)}.") from error


def split_url(url: str) -> tuple[str, str, str]:
    """Split into (scheme, bucket, path); a plain path has scheme "file" and is made absolute.

    Raises:
        ConfigError: the scheme is not one we read, or an s3 URL names no bucket.
    """
    if "://" not in url:
        return "file", "", os.path.abspath(os.path.expanduser(url))
    scheme, rest = url.split("://", 1)
    if scheme == "file":
        return "file", "", os.path.abspath(os.fsdecode(unquote_to_bytes(url[len("file://") :])))
    if scheme != "s3":
        raise ConfigError(f"{url!r} cannot be opened: give a folder or s3://bucket/prefix.")
    bucket, _, path = rest.partition("/")
    if not bucket:
        raise ConfigError(f"{url!r} names no bucket: write s3://bucket/prefix.")
    return "s3", bucket, path.rstrip("/")


def absolute_url(url: str) -> str:
    """Return the one name of a place, wherever the process runs: an absolute path, or a URL.

    Raises:
        ConfigError: the scheme is not one we read.
    """
    scheme, bucket, path = split_url(url)
    return path if scheme == "file" else f"{scheme}://{bucket}/{path}"


def open_bucket(bucket: str, config: StoreConfig, *, max_retries: int) -> S3Store:
    """Open one S3 bucket, unprefixed; credentials from the environment, else as boto3 finds them.

    Raises:
        UnreachableError: no credentials anywhere and access is not anonymous.
    """
    options: dict[str, object] = {
        "client_options": {"allow_http": True, "timeout": CONTROL_TIMEOUT},
        "retry_config": {"max_retries": max_retries, "retry_timeout": timedelta(seconds=60)},
        "region": config.region or os.environ.get("AWS_DEFAULT_REGION", "us-east-1"),
    }
    endpoint = config.endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
    if endpoint:
        options |= {"endpoint": endpoint, "virtual_hosted_style_request": False}
    if config.anonymous:
        options["skip_signature"] = True
    elif "AWS_ACCESS_KEY_ID" not in os.environ:
        options["credential_provider"] = _boto3_credentials(bucket)
    return S3Store(bucket, **options)  # pyright: ignore[reportArgumentType, reportCallIssue]


def _boto3_credentials(bucket: str) -> object:
    # boto3 knows profiles, SSO and instance roles; obstore alone does not know the first two.
    from obstore.auth.boto3 import Boto3CredentialProvider

    try:
        return Boto3CredentialProvider()
    except ValueError as error:
        raise UnreachableError(
            f"No credentials for s3://{bucket}: set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, "
            "configure an AWS profile, or pass --anonymous for a public bucket."
        ) from error


class Store:
    """Small objects of a run under one folder or prefix; keys are relative, "/"-separated."""

    def __init__(self, url: str, raw: LocalStore | S3Store, prefix: str) -> None:
        self.url = url
        self._raw = raw
        self._folder = Path(split_url(url)[2]) if isinstance(raw, LocalStore) else None
        self._prefix = f"{prefix}/" if prefix else ""

    def read(self, key: str) -> bytes:
        """Return the whole object; FileNotFoundError when there is none."""
        with self._reachable("read", key):
            return bytes(obstore.get(self._raw, self._prefix + key).bytes())

    def write(self, key: str, data: bytes) -> None:
        """Write or replace one object; readers see the old one or the new one, never a part."""
        with self._reachable("write", key):
            obstore.put(self._raw, self._prefix + key, data)

    def create(self, key: str, data: bytes) -> bool:
        """Write one object unless it exists; False when it does. Exactly one of many writers wins.

        A retried request may meet the object its first try wrote: whoever needs to know must
        read it back and compare.
        """
        try:
            with self._reachable("create", key):
                obstore.put(self._raw, self._prefix + key, data, mode="create")
        except (AlreadyExistsError, PreconditionError):
            return False
        return True

    def move(self, source: str, target: str) -> None:
        """Move within the store, replacing the target; FileNotFoundError without a source.

        At every moment one of the two holds the whole object, and no third name appears: in a
        folder it is one rename, in a bucket a copy and then a delete. (obstore's copy in a folder
        links the source to "target#0" first, which stays when the process dies, or when the target
        is that very file already; whoever reads the folder would take it for data.)
        """
        with self._reachable("move", source):
            obstore.rename(self._raw, self._prefix + source, self._prefix + target)

    def delete(self, key: str) -> None:
        """Delete one object; no error when it is gone already."""
        with suppress(FileNotFoundError), self._reachable("delete", key):
            if self._folder:  # obstore refuses the names of its own unfinished writes
                os.unlink(self._folder / key)
            else:
                obstore.delete(self._raw, self._prefix + key)

    def exists(self, key: str) -> bool:
        """Tell whether the object is there."""
        try:
            with self._reachable("look up", key):
                obstore.head(self._raw, self._prefix + key)
        except FileNotFoundError:
            return False
        return True

    def list(self, prefix: str) -> Iterator[str]:
        """Yield the keys under the folder `prefix` (no trailing slash), as they stream in.

        In a folder this is every file, also "name#1" of a write that was killed: obstore's own
        listing hides those, other readers of the folder see them.
        """
        with self._reachable("list", prefix):
            if self._folder:
                yield from _walk(self._folder, prefix)
                return
            for page in obstore.list(self._raw, self._prefix + prefix):
                for entry in page:
                    yield entry["path"][len(self._prefix) :]

    def remove_empty_folders(self, prefix: str) -> None:
        """Remove the empty folders under `prefix`; object stores have none."""
        if not self._folder:
            return
        for folder, _, _ in os.walk(self._folder / prefix, topdown=False):
            with suppress(OSError):  # not empty, or gone
                os.rmdir(folder)

    def _reachable(self, verb: str, key: str) -> "_Reachable":
        return _Reachable(f"Cannot {verb} {key or 'objects'} in {self.url}", self.url)


def _walk(root: Path, prefix: str) -> Iterator[str]:
    def unless_gone(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for folder, _, names in os.walk(root / prefix, onerror=unless_gone):
        relative = os.path.relpath(folder, root)
        yield from (f"{relative}/{name}" for name in names)


class _Reachable:
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
    if isinstance(error, PermissionDeniedError) or "AccessDenied" in text:
        return "access is denied; check the credentials and the bucket's policy."
    if "SignatureDoesNotMatch" in text:
        return "the secret key does not fit the access key."
    if "error sending request" in text or "dns error" in text.lower():
        return "the server cannot be reached; check --endpoint-url and the network."
    return f"{first_line(error)}."


def first_line(error: BaseException) -> str:
    """Return the first line of an error's text, bounded, without its final full stop."""
    lines = str(error).strip().splitlines()
    return (lines[0] if lines else type(error).__name__)[:200].rstrip(" .")


def probe_create_if_absent(store: Store) -> None:
    """Check that a second create of the same key fails, or refuse the store before any work.

    Raises:
        ConfigError: the server overwrites: two drivers could publish different results.
        UnreachableError: the store cannot be written.
    """
    key = f"staging/probe-{uuid.uuid4().hex}"
    first = store.create(key, b"1")
    second = store.create(key, b"2")
    store.delete(key)
    if not first or second:
        raise ConfigError(
            f"{store.url} ignores create-if-absent (If-None-Match), so results could be "
            "overwritten; use another store for the output."
        )

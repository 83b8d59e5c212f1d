"""One way to reach object stores: folders and s3:// prefixes, through obstore.

A `Store` is where a run writes. It creates objects only if they are absent, which is what makes
commits exclusive; a server that ignores that condition is refused by `probe_create_if_absent`.
"""

import hashlib
import logging
import os
import re
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import TypeVar
from urllib.parse import unquote_to_bytes

import obstore
from obstore.exceptions import AlreadyExistsError, BaseError, PreconditionError
from obstore.store import LocalStore, S3Store

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage.again import TRIES, UnsettledError, may_help, pause_s, until_answered
from ram_ray.storage.clients import CLOUDS, open_bucket
from ram_ray.storage.reasons import Reachable, first_line
from ram_ray.storage.uris import WEB

MAX_SINGLE_PUT_BYTES = 16 * 2**20
"""Larger objects are sent in parts."""

PROBE_LIFE_S = 3_600  # a probe that is older was left by a killed driver

_PROBE = re.compile(r"staging/probe-(?:(\d+)-)?[0-9a-f]{32}")
_log = logging.getLogger(__name__)

T = TypeVar("T")


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
    if scheme not in ("file", "s3"):
        raise ConfigError(
            f"{url!r} can be a source, but no place to write: give a folder or s3://bucket/prefix."
        )
    if scheme == "s3":
        return Store(url, open_bucket(bucket, config, max_retries=0), path)
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

    Of a web address the bucket is the host; of hf:// it is what comes first, such as "datasets".

    Raises:
        ConfigError: the scheme is not one we read, or the URL names no bucket.
    """
    if "://" not in url:
        return "file", "", os.path.abspath(os.path.expanduser(url))
    scheme, rest = url.split("://", 1)
    if scheme == "file":
        return "file", "", os.path.abspath(os.fsdecode(unquote_to_bytes(url[len("file://") :])))
    if scheme not in ("s3", *CLOUDS, *WEB):
        raise ConfigError(f"{url!r} cannot be opened: give a folder or s3://bucket/prefix.")
    bucket, _, path = rest.partition("/")
    if not bucket:
        raise ConfigError(f"{url!r} names no bucket: write {scheme}://bucket/prefix.")
    return scheme, bucket, path.rstrip("/")


def absolute_url(url: str) -> str:
    """Return the one name of a place, wherever the process runs: an absolute path, or a URL.

    Raises:
        ConfigError: the scheme is not one we read.
    """
    scheme, bucket, path = split_url(url)
    return path if scheme == "file" else f"{scheme}://{bucket}/{path}"


class Store:
    """Small objects of a run under one folder or prefix; keys are relative, "/"-separated."""

    def __init__(self, url: str, raw: LocalStore | S3Store, prefix: str) -> None:
        self.url = url
        self._raw = raw
        self._folder = Path(split_url(url)[2]) if isinstance(raw, LocalStore) else None
        self._prefix = f"{prefix}/" if prefix else ""

    def read(self, key: str) -> bytes:
        """Return the whole object; FileNotFoundError when there is none."""
        return self._ask("read", key, lambda: self._get(key))

    def write(self, key: str, data: bytes) -> None:
        """Write or replace one object; readers see the old one or the new one, never a part."""
        self._ask("write", key, lambda: self._put(key, data))

    def create(self, key: str, data: bytes) -> bool:
        """Write one object unless it exists; tell whether what is there is this.

        Of many writers exactly one gets True, provided that `data` names its writer: the answer to
        a request may be lost, or be about the object that its own first try wrote, so that only
        the content tells who was first.
        """
        return self._ask("create", key, lambda: self._create(key, data))

    def _create(self, key: str, data: bytes) -> bool:
        try:
            obstore.put(self._raw, self._prefix + key, data, mode="create")
        except (AlreadyExistsError, PreconditionError) as error:
            try:
                return self._get(key) == data
            except FileNotFoundError:  # two requests met (409), and neither was done
                raise UnsettledError(f"{key} is not there, but {first_line(error)}") from error
        return True

    def move(self, source: str, target: str) -> None:
        """Move within the store, replacing the target; FileNotFoundError without a source.

        At every moment one of the two holds the whole object, and no third name appears: in a
        folder it is one rename, in a bucket a copy and then a delete, which may leave the source
        behind. (obstore's copy in a folder links the source to "target#0" first, which stays when
        the process dies, or when the target is that very file already; whoever reads the folder
        would take it for data.)
        """
        here, there = self._prefix + source, self._prefix + target
        if self._folder:
            self._ask("move", source, lambda: obstore.rename(self._raw, here, there))
            return
        self._ask("move", source, lambda: obstore.copy(self._raw, here, there))
        self.discard(source)

    def delete(self, key: str) -> None:
        """Delete one object; no error when it is gone already."""
        with suppress(FileNotFoundError):
            self._ask("delete", key, lambda: self._delete(key))

    def discard(self, key: str) -> None:
        """Delete what nobody needs any more; where that fails it stays, and the log says so."""
        try:
            self.delete(key)
        except UnreachableError as error:
            _log.warning("It stays, for a later call to remove: %s", error)

    def _delete(self, key: str) -> None:
        if self._folder:  # obstore refuses the names of its own unfinished writes
            os.unlink(self._folder / key)
        else:
            obstore.delete(self._raw, self._prefix + key)

    def exists(self, key: str) -> bool:
        """Tell whether the object is there."""
        try:
            self._ask("look up", key, lambda: obstore.head(self._raw, self._prefix + key))
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
            last: str | None = None
            tries = 0
            while True:
                try:
                    for page in obstore.list(self._raw, self._prefix + prefix, offset=last):
                        tries = 0
                        for entry in page:
                            last = entry["path"]
                            yield last[len(self._prefix) :]
                    return
                except (BaseError, OSError) as error:
                    tries += 1
                    if tries == TRIES or not may_help(error):
                        raise
                time.sleep(pause_s(tries))

    def remove_empty_folders(self, prefix: str) -> None:
        """Remove the empty folders under `prefix`; object stores have none."""
        if not self._folder:
            return
        for folder, _, _ in os.walk(self._folder / prefix, topdown=False):
            with suppress(OSError):  # not empty, or gone
                os.rmdir(folder)

    def _get(self, key: str) -> bytes:
        result = obstore.get(self._raw, self._prefix + key)
        data = bytes(result.bytes())
        # A body that was cut on its way may look whole. Most etags tell; else the size does.
        if not self._folder and _md5(data) != (result.meta["e_tag"] or "").strip('"'):
            size_bytes = obstore.head(self._raw, self._prefix + key)["size"]
            if size_bytes != len(data):
                raise UnsettledError(f"{len(data)} of {size_bytes} bytes came")
        return data

    def _put(self, key: str, data: bytes) -> None:
        # One request: its etag is then the MD5 of the content wherever etags are that at all.
        parts = len(data) > MAX_SINGLE_PUT_BYTES
        obstore.put(self._raw, self._prefix + key, data, use_multipart=parts)

    def _ask(self, verb: str, key: str, request: Callable[[], T]) -> T:
        with self._reachable(verb, key):
            return request() if self._folder else until_answered(request)

    def _reachable(self, verb: str, key: str) -> Reachable:
        return Reachable(f"Cannot {verb} {key or 'objects'} in {self.url}", self.url)


def _md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest()


def _walk(root: Path, prefix: str) -> Iterator[str]:
    def unless_gone(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):
            raise error

    for folder, _, names in os.walk(root / prefix, onerror=unless_gone):
        relative = os.path.relpath(folder, root)
        yield from (f"{relative}/{name}" for name in names)


def probe_create_if_absent(store: Store) -> None:
    """Check that a second create of the same key fails, or refuse the store before any work.

    Raises:
        ConfigError: the server overwrites: two drivers could publish different results.
        UnreachableError: the store cannot be written.
    """
    key = f"staging/probe-{int(time.time())}-{uuid.uuid4().hex}"
    first = store.create(key, key.encode())
    second = store.create(key, b"2")
    store.discard(key)
    if not first or second:
        raise ConfigError(
            f"{store.url} ignores create-if-absent (If-None-Match), so results could be "
            "overwritten; use another store for the output."
        )


def is_dead_probe(key: str) -> bool:
    """Tell whether an object is a probe whose driver is gone; those of 0.1.0 tell no time."""
    match = _PROBE.fullmatch(key)
    return match is not None and time.time() - int(match[1] or 0) > PROBE_LIFE_S

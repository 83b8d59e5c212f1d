"""List a source of images, streaming, in key order: nothing holds the whole listing."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote_from_bytes

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.storage.bodies import local_etag
from ram_ray.storage.bucket_listing import begins_any_key, list_bucket
from ram_ray.storage.stores import split_url
from ram_ray.storage.uris import object_key, whole_uri

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib",
    ".tif", ".tiff", ".avif",
)  # fmt: skip
"""Names planned when no --include is given: the formats `ram_ray.images.decoder` reads."""


EXTRA_SUFFIXES = {"heic": (".heic", ".heif", ".hif"), "jxl": (".jxl",)}
"""Names planned beside them where a run asks for these formats (`DecodeConfig.formats`)."""


@dataclass(frozen=True, slots=True)
class SourceObject:
    """One listed object: its key as the caller knows it, where it is, and what listing told."""

    image_id: str
    uri: str
    etag: str | None
    """The store's; of a local file `bodies.local_etag`; None: not known."""
    size_bytes: int


class NameFilter:
    """Decides by name alone whether a listed object is planned."""

    def __init__(
        self, include: tuple[str, ...], exclude: tuple[str, ...], formats: tuple[str, ...] = ()
    ) -> None:
        """Take the globs; `formats` are those that `DecodeConfig.formats` adds."""
        added = (suffix for name in formats for suffix in EXTRA_SUFFIXES[name])
        self._suffixes = (*IMAGE_SUFFIXES, *added)
        self._include = include
        self._exclude = exclude

    def accepts(self, image_id: str) -> bool:
        """Tell whether the key is wanted: globs match the whole key or its last part."""
        name = image_id.rsplit("/", 1)[-1]
        if any(fnmatchcase(image_id, glob) or fnmatchcase(name, glob) for glob in self._exclude):
            return False
        if not self._include:
            # macOS keeps `._a.jpg` beside `a.jpg` on foreign drives: no picture
            return name.lower().endswith(self._suffixes) and not name.startswith("._")
        return any(fnmatchcase(image_id, glob) or fnmatchcase(name, glob) for glob in self._include)


def list_source(url: str, config: StoreConfig) -> Iterator[SourceObject]:
    """Yield every object under a folder or s3://bucket/prefix.

    Keys come in the store's order (sorted, folder by folder, for local files), so the same
    content gives the same plan. `image_id` is the object key, or the path below the folder.

    Raises:
        ConfigError: the URL's scheme is not one we read.
        UnreachableError: the source cannot be listed.
    """
    scheme, bucket, path = split_url(url)
    if scheme == "s3":
        return _list_bucket(url, bucket, config)
    return _list_folder(Path(path))


def _list_folder(root: Path) -> Iterator[SourceObject]:
    if not root.is_dir():
        kind = "is not a folder" if root.exists() else "does not exist"
        raise UnreachableError(f"The source {root} {kind}.")
    return _walk(str(root), "")


def _walk(folder: str, relative: str) -> Iterator[SourceObject]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        raise UnreachableError(f"Cannot list {folder}: {error.strerror}.") from error
    for entry in entries:
        # Links to folders are not followed: a cycle would never end.
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{relative}{entry.name}/")
        elif entry.is_file() or entry.is_symlink():
            yield _local_object(entry, relative + entry.name)


def _local_object(entry: os.DirEntry[str], key: str) -> SourceObject:
    try:
        told = entry.stat()
        size_bytes, etag = told.st_size, local_etag(told)
    except OSError:  # a dangling link: planned, and quarantined as not_found when fetched
        size_bytes, etag = 0, None
    try:
        key.encode()
        return SourceObject(key, whole_uri(entry.path), etag, size_bytes)
    except UnicodeEncodeError:  # bytes that are not UTF-8: the URI keeps them exactly
        shown = os.fsencode(key).decode(errors="backslashreplace")
        uri = "file://" + quote_from_bytes(os.fsencode(entry.path))
        return SourceObject(shown, whole_uri(uri), etag, size_bytes)


def _list_bucket(url: str, bucket: str, config: StoreConfig) -> Iterator[SourceObject]:
    prefix = object_key(url, bucket).removeprefix(f"s3://{bucket}")
    # A name is a folder where something lies below it, else what keys begin with (`aws s3 ls`).
    if prefix and not prefix.endswith("/") and begins_any_key(bucket, f"{prefix}/", config):
        prefix += "/"
    for key, etag, size_bytes in list_bucket(bucket, prefix, config):
        yield SourceObject(key, whole_uri(f"s3://{bucket}/{key}"), etag, size_bytes)

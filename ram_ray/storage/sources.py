"""List a source of images, streaming, in key order: nothing holds the whole listing."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote_from_bytes

import obstore
from botocore.exceptions import BotoCoreError, ClientError
from obstore.exceptions import BaseError, InvalidPathError

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.storage.clients import boto3_client, open_bucket
from ram_ray.storage.reasons import describe, first_line
from ram_ray.storage.stores import split_url

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
        return _list_bucket(bucket, path, config)
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
        size_bytes = entry.stat().st_size
    except OSError:  # a dangling link: planned, and quarantined as not_found when fetched
        size_bytes = 0
    try:
        key.encode()
        return SourceObject(key, entry.path, None, size_bytes)
    except UnicodeEncodeError:  # bytes that are not UTF-8: the URI keeps them exactly
        shown = os.fsencode(key).decode(errors="backslashreplace")
        uri = "file://" + quote_from_bytes(os.fsencode(entry.path))
        return SourceObject(shown, uri, None, size_bytes)


def _list_bucket(bucket: str, path: str, config: StoreConfig) -> Iterator[SourceObject]:
    """List with obstore; go on with boto3 where a key is one that obstore cannot express.

    One key such as "a//b.jpg" makes obstore fail the page that holds it (object_store's Path has
    no empty segments), and keys of that kind are common in real buckets.
    """
    prefix = f"{path}/" if path else ""
    last_key: str | None = None
    try:
        for page in obstore.list(open_bucket(bucket, config, max_retries=5), prefix or None):
            for entry in page:
                last_key = entry["path"]
                etag = entry["e_tag"]
                yield SourceObject(last_key, f"s3://{bucket}/{last_key}", etag, entry["size"])
    except InvalidPathError:
        yield from _list_bucket_exactly(bucket, prefix, last_key, config)
    except (BaseError, OSError) as error:
        raise UnreachableError(f"Cannot list s3://{bucket}/{path}: {describe(error)}") from error


def _list_bucket_exactly(
    bucket: str, prefix: str, after: str | None, config: StoreConfig
) -> Iterator[SourceObject]:
    pages = boto3_client(config).get_paginator("list_objects_v2")
    try:
        for page in pages.paginate(Bucket=bucket, Prefix=prefix, StartAfter=after or ""):
            for entry in page.get("Contents", ()):
                key = entry["Key"]
                yield SourceObject(key, f"s3://{bucket}/{key}", entry["ETag"], entry["Size"])
    except (BotoCoreError, ClientError) as error:
        raise UnreachableError(
            f"Cannot list s3://{bucket}/{prefix}: {first_line(error)}."
        ) from error

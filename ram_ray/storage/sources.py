"""List a source of images, streaming, in key order: nothing holds the whole listing."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote_from_bytes

import boto3
import obstore
from botocore.client import BaseClient
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from obstore.exceptions import BaseError, InvalidPathError

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.storage.regular_files import is_special
from ram_ray.storage.stores import describe, first_line, open_bucket, split_url

IMAGE_SUFFIXES = (
    ".jpg", ".jpeg", ".jpe", ".jfif", ".png", ".apng", ".webp", ".gif", ".bmp", ".dib",
    ".tif", ".tiff", ".avif",
)  # fmt: skip
"""Names planned when no --include is given: the formats `ram_ray.images.decoder` reads."""


EXTRA_SUFFIXES = {"heic": (".heic", ".heif", ".hif"), "jxl": (".jxl",)}
"""Names planned beside them where a run asks for these formats (`DecodeConfig.formats`)."""


def image_suffixes(formats: Iterable[str]) -> tuple[str, ...]:
    """Return the suffixes of images, in lower case, where a run also reads `formats`."""
    return (*IMAGE_SUFFIXES, *(suffix for name in formats for suffix in EXTRA_SUFFIXES[name]))


PICTURE_SUFFIXES = image_suffixes(EXTRA_SUFFIXES)
"""What a picture's name may end with in captions and labels, whatever a run decodes."""


OnPassed = Callable[[str, str], None]
"""Told the place of what a listing passes over, and why: one of the texts below."""
NO_ACCESS = "folder that may not be read"
SPECIAL_FILE = "pipe, device or socket"


@dataclass(slots=True)
class PassedOver:
    """Counts what a listing passes over; an `OnPassed`."""

    counts: Counter[str] = field(default_factory=Counter)
    """By reason."""
    examples: dict[str, str] = field(default_factory=dict)
    """The first place of each reason."""

    def __call__(self, place: str, why: str) -> None:
        self.counts[why] += 1
        self.examples.setdefault(why, place)


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
        self,
        include: Iterable[str],
        exclude: Iterable[str],
        formats: Iterable[str] = (),
        *,
        shards: tuple[str, ...] = (),
    ) -> None:
        """Take the globs.

        Args:
            formats: those that `DecodeConfig.formats` adds.
            shards: suffixes of files of many images that are wanted, too.
        """
        self._suffixes = (*image_suffixes(formats), *shards)
        self._include = tuple(include)
        self._exclude = tuple(exclude)

    def accepts(self, image_id: str) -> bool:
        """Tell whether the key is wanted: globs match the whole key or its last part."""
        name = image_id.rsplit("/", 1)[-1]
        if any(fnmatchcase(image_id, glob) or fnmatchcase(name, glob) for glob in self._exclude):
            return False
        if not self._include:
            # macOS keeps `._a.jpg` beside `a.jpg` on foreign drives: no picture
            return name.lower().endswith(self._suffixes) and not name.startswith("._")
        return any(fnmatchcase(image_id, glob) or fnmatchcase(name, glob) for glob in self._include)


def list_source(
    url: str, config: StoreConfig, on_passed: OnPassed | None = None
) -> Iterator[SourceObject]:
    """Yield every object under a folder or s3://bucket/prefix.

    Keys come in the store's order (sorted, folder by folder, for local files), so the same
    content gives the same plan. `image_id` is the object key, or the path below the folder. A link
    that leads nowhere is an object: fetching says what is wrong with it.

    Args:
        on_passed: told which folders may not be read, and what is no file; None: such a folder
            ends the listing.

    Raises:
        ConfigError: the URL's scheme is not one we read.
        UnreachableError: the source cannot be listed.
    """
    scheme, bucket, path = split_url(url)
    if scheme == "s3":
        return _list_bucket(bucket, path, config)
    return _list_folder(Path(path), on_passed)


def _list_folder(root: Path, on_passed: OnPassed | None) -> Iterator[SourceObject]:
    try:
        is_folder, is_there = root.is_dir(), os.path.lexists(root)
    except OSError as error:
        raise UnreachableError(f"The source {root} cannot be read: {error.strerror}.") from error
    if not is_folder:
        kind = "is not a folder" if is_there else "does not exist"
        raise UnreachableError(f"The source {root} {kind}.")
    return _walk(str(root), "", on_passed)


def _walk(folder: str, relative: str, on_passed: OnPassed | None) -> Iterator[SourceObject]:
    try:
        with os.scandir(folder) as listing:
            entries = sorted(listing, key=lambda entry: entry.name)
    except OSError as error:
        if on_passed is None or not relative:
            raise UnreachableError(f"Cannot list {folder}: {error.strerror}.") from error
        on_passed(_shown(relative), NO_ACCESS)
        return
    for entry in entries:
        # Links to folders are not followed: a cycle would never end.
        if entry.is_dir(follow_symlinks=False):
            yield from _walk(entry.path, f"{relative}{entry.name}/", on_passed)
            continue
        found = _stat(entry)
        if found is None or not is_special(found):
            yield _local_object(entry, relative + entry.name, found.st_size if found else 0)
        elif on_passed is not None:
            on_passed(_shown(relative + entry.name), SPECIAL_FILE)


def _stat(entry: os.DirEntry[str]) -> os.stat_result | None:
    """Return what an entry is, links followed; None where a link leads nowhere we may go."""
    try:
        return entry.stat()
    except OSError:  # planned; quarantined with the reason when it is fetched
        return None


def _shown(key: str) -> str:
    """Return a name as text; bytes that are not UTF-8 as \\xe9."""
    return os.fsencode(key).decode(errors="backslashreplace")


def _local_object(entry: os.DirEntry[str], key: str, size_bytes: int) -> SourceObject:
    try:
        key.encode()
        return SourceObject(key, entry.path, None, size_bytes)
    except UnicodeEncodeError:  # bytes that are not UTF-8: the URI keeps them exactly
        uri = "file://" + quote_from_bytes(os.fsencode(entry.path))
        return SourceObject(_shown(key), uri, None, size_bytes)


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


def boto3_client(config: StoreConfig) -> BaseClient:
    """Return an S3 client for the control side: bucket checks, and keys obstore cannot express."""
    from botocore import UNSIGNED

    return boto3.client(
        "s3",
        endpoint_url=config.endpoint_url,
        region_name=config.region,
        config=Config(
            retries={"max_attempts": 5, "mode": "standard"},
            connect_timeout=10,
            read_timeout=30,
            signature_version=UNSIGNED if config.anonymous else None,
        ),
    )

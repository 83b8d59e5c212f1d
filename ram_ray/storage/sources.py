"""List a source of images, streaming, in key order: nothing holds the whole listing."""

import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path
from urllib.parse import quote_from_bytes

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.storage.bucket_listing import begins_any_key, list_bucket
from ram_ray.storage.pins import local_etag
from ram_ray.storage.regular_files import is_special
from ram_ray.storage.stores import split_url
from ram_ray.storage.uris import object_key, whole_uri

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
    """The store's; of a local file `pins.local_etag`; None: not known."""
    size_bytes: int
    """0 with no etag: not known."""
    from_row: bool = False
    """A list or a table names it: it is an image, whatever its id looks like."""


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
        if self.excludes(image_id):
            return False
        if not self._include:
            name = image_id.rsplit("/", 1)[-1]
            # macOS keeps `._a.jpg` beside `a.jpg` on foreign drives: no picture
            return name.lower().endswith(self._suffixes) and not name.startswith("._")
        return _matches(image_id, self._include)

    def takes(self, listed: SourceObject) -> bool:
        """Tell whether an object is planned; the row of a list need not be named like a picture."""
        if listed.from_row and not self._include:
            return not self.excludes(listed.image_id)
        return self.accepts(listed.image_id)

    def excludes(self, image_id: str) -> bool:
        """Tell whether the key is not wanted, whatever kind of object it is."""
        return _matches(image_id, self._exclude)


def _matches(image_id: str, globs: Iterable[str]) -> bool:
    name = image_id.rsplit("/", 1)[-1]
    return any(fnmatchcase(image_id, glob) or fnmatchcase(name, glob) for glob in globs)


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
        return _list_bucket(url, bucket, config)
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
            yield _local_object(entry, relative + entry.name, found)
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


def _local_object(entry: os.DirEntry[str], key: str, found: os.stat_result | None) -> SourceObject:
    size_bytes, etag = (found.st_size, local_etag(found)) if found else (0, None)
    try:
        key.encode()
        return SourceObject(key, whole_uri(entry.path), etag, size_bytes)
    except UnicodeEncodeError:  # bytes that are not UTF-8: the URI keeps them exactly
        uri = "file://" + quote_from_bytes(os.fsencode(entry.path))
        return SourceObject(_shown(key), whole_uri(uri), etag, size_bytes)


def list_after(url: str, config: StoreConfig, image_id: str) -> Iterator[SourceObject]:
    """Yield what `list_source` yields after an image, of a source in key order: a bucket.

    Raises:
        UnreachableError: the source cannot be listed.
    """
    return _list_bucket(url, split_url(url)[1], config, after=image_id)


def _list_bucket(
    url: str, bucket: str, config: StoreConfig, *, after: str = ""
) -> Iterator[SourceObject]:
    prefix = object_key(url, bucket)
    # A name is a folder where something lies below it, else what keys begin with (`aws s3 ls`).
    if prefix and not prefix.endswith("/") and begins_any_key(bucket, f"{prefix}/", config):
        prefix += "/"
    for key, etag, size_bytes in list_bucket(bucket, prefix, config, after=after):
        yield SourceObject(key, whole_uri(f"s3://{bucket}/{key}"), etag, size_bytes)

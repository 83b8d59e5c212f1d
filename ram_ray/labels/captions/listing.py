"""The caption files of a source, each with the images that it stands beside."""

import os
from collections.abc import Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from typing import NamedTuple

import obstore
import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.labels.captions.forms import HEAD_BYTES, SUFFIXES, Form, form_of
from ram_ray.labels.captions.rows import is_file_name
from ram_ray.labels.captions.tar_texts import TEXTS
from ram_ray.storage.clients import open_bucket
from ram_ray.storage.object_files import open_object
from ram_ray.storage.sources import OnPassed, SourceObject, list_source
from ram_ray.storage.stores import split_url
from ram_ray.storage.tars import APPLE_DOUBLE, COMPRESSED

_BESIDE = (*TEXTS, ".json")
"""Endings of files that hold the caption of the image of the same name."""
_IMG2DATASET = {"key", "url", "status"}
"""Columns of the table that img2dataset writes beside each of its tars and folders."""


class CaptionFile(NamedTuple):
    """One file of captions."""

    found: SourceObject
    form: Form
    images: tuple[str, ...]
    """Ids of the images of its name; empty: it says itself what it is about."""


class Listed(NamedTuple):
    """One object, once what stands beside it is known."""

    found: SourceObject
    images: tuple[str, ...]
    """Ids of the images of the same folder and name."""


@dataclass(slots=True)
class _Stem:
    """The objects of one folder and name, as long as more of them may come."""

    name: str
    objects: list[SourceObject] = field(default_factory=list)

    def close(self) -> Iterator[Listed]:
        images = tuple(one.image_id for one in self.objects if is_picture(one.image_id))
        for one in self.objects:
            yield Listed(one, images)


def list_beside(listing: Iterable[SourceObject]) -> Iterator[Listed]:
    """Yield every object of a sorted listing, with the images it stands beside.

    Memory holds one name at a time: `a.jpg` and `a.txt` may have `a.b.jpg` between them, and
    nothing else.
    """
    open_stems: list[_Stem] = []
    for found in listing:
        while open_stems and not found.image_id.startswith(open_stems[-1].name + "."):
            yield from open_stems.pop().close()
        folder, slash, last = found.image_id.rpartition("/")
        name = folder + slash + (last.rpartition(".")[0] or last)
        stem = next((stem for stem in open_stems if stem.name == name), None)
        if stem is None:
            stem = _Stem(name)
            open_stems.append(stem)
        stem.objects.append(found)
    while open_stems:
        yield from open_stems.pop().close()


def caption_file(
    listed: Listed, config: StoreConfig, columns: Sequence[str] | None = None
) -> CaptionFile | None:
    """Return an object as a caption file; None where it is none.

    Raises:
        ConfigError: a table whose columns cannot be told apart.
    """
    found, images = listed
    name = found.image_id.lower()
    if not is_caption_file(name):
        return None
    if images and name.endswith(_BESIDE):
        return CaptionFile(found, Form("object" if name.endswith(".json") else "text"), images)
    head = b"" if name.endswith((".tar", ".parquet")) else read_head(found.uri, config)
    form = form_of(found.image_id, head, columns)
    if form.kind == "parquet" and _is_index_of_others(found, config):
        form = Form("stats")
    return CaptionFile(found, form, ())


def list_caption_files(
    source: str,
    config: StoreConfig,
    columns: Sequence[str] | None = None,
    on_passed: OnPassed | None = None,
) -> Iterator[CaptionFile | SourceObject]:
    """Yield the caption files of a folder, a prefix, or a single file; other objects as they are.

    Args:
        columns: what the columns of tables without names are, in order.
        on_passed: as of `list_source`.

    Raises:
        ConfigError: the URL's scheme is not one we read, or a table's columns cannot be told.
        UnreachableError: the source cannot be listed.
    """
    for listed in list_beside(list_objects(source, config, on_passed)):
        yield caption_file(listed, config, columns) or listed.found


def list_objects(
    source: str, config: StoreConfig, on_passed: OnPassed | None = None
) -> Iterator[SourceObject]:
    """Yield the objects of a folder or prefix, or the one file that `source` names."""
    scheme, bucket, path = split_url(source)
    if not path.lower().endswith((*SUFFIXES, *COMPRESSED)):
        yield from list_source(source, config, on_passed)
        return
    name = path.rsplit("/", 1)[-1]
    folder = path.removesuffix(name).rstrip("/")
    parent = f"s3://{bucket}/{folder}" if scheme == "s3" else folder or "/"
    for found in list_source(parent, config, lambda place, why: None):  # its other entries
        if found.image_id in (name, path):
            yield found


def is_caption_file(name: str) -> bool:
    """Tell by its name whether an object may hold captions."""
    last = name.rsplit("/", 1)[-1]
    return last.lower().endswith(SUFFIXES) and not last.startswith(APPLE_DOUBLE)


def is_picture(name: str) -> bool:
    """Tell by its name whether an object is a picture."""
    return is_file_name(name) and not name.rsplit("/", 1)[-1].startswith(APPLE_DOUBLE)


def read_head(uri: str, config: StoreConfig) -> bytes:
    """Return the first HEAD_BYTES of an object, or all of it; b"" where it cannot be read."""
    try:
        with closing(open_object(uri, config)) as file:
            return file.read(HEAD_BYTES)
    except UnreachableError:  # the reader says so
        return b""


def _is_index_of_others(found: SourceObject, config: StoreConfig) -> bool:
    """Tell whether img2dataset wrote this table about the tar or the folder of its name."""
    try:
        with closing(open_object(found.uri, config)) as file:
            if not _IMG2DATASET <= set(pq.read_schema(file).names):
                return False
    except (pa.ArrowInvalid, OSError, UnreachableError):
        return False  # the reader says what is wrong
    stem = found.uri.rpartition(".")[0]
    scheme, bucket, path = split_url(stem)
    if scheme == "file":
        return os.path.exists(f"{path}.tar") or os.path.isdir(path)
    store = open_bucket(bucket, config, max_retries=5)
    try:
        obstore.head(store, f"{path}.tar")
    except FileNotFoundError:
        return any(len(page) for page in obstore.list(store, path))
    return True

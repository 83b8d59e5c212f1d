"""The samples of a run: where each image lies, byte for byte, on any store.

One row per image, in the order of the store's names: tars by member offset, Parquet by row, loose
images whole. The hash of the rows is what a checkpoint's position refers to.
"""

import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage.listing import expand_braces, is_table, list_objects
from ram_ray.storage.object_files import open_object
from ram_ray.storage.reasons import first_line
from ram_ray.storage.sources import (
    NameFilter,
    OnPassed,
    SourceObject,
    image_suffixes,
    list_source,
)
from ram_ray.storage.stores import split_url
from ram_ray.storage.tars import COMPRESSED, index_tar

PLACES = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # tar, parquet or file
        pa.field("offset", pa.int64(), nullable=False),  # tar: byte; parquet: row group
        pa.field("size", pa.int64(), nullable=False),  # bytes; parquet: row within the group
    ]
)
IMAGE_COLUMNS = ("image", "jpg", "bytes")
"""Columns of a Parquet file that may hold the image: bytes, or a struct with the field `bytes`."""
ID_COLUMNS = ("image_id", "key", "file_name")
"""Columns of a Parquet file that may name the image."""
_THREADS = 16  # the work is waiting for headers


def index_samples(
    data: str,
    store: StoreConfig,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    *,
    formats: Sequence[str] = (),
    on_passed: OnPassed | None = None,
) -> pa.Table:
    """Return PLACES of all images in a folder, file or prefix.

    Args:
        formats: of images, read beside the usual ones.
        on_passed: as of `list_source`.

    Raises:
        ConfigError: no image there, or two of one name.
        UnreachableError: the place cannot be listed or read, or a file is damaged (it is named).
    """
    suffixes = image_suffixes(formats)
    names = NameFilter(include, exclude, formats, shards=(".tar", ".parquet"))
    listed = [item for item in _list(data, store, on_passed) if names.takes(item)]
    with ThreadPoolExecutor(_THREADS) as threads:
        parts = list(threads.map(lambda item: _places_of(item, store, suffixes), listed))
    rows = [row for part in parts for row in part]
    if not rows:
        raise ConfigError(f"data is {data!r}, but holds no image, tar or Parquet file of images.")
    twice = [name for name, count in Counter(row["image_id"] for row in rows).items() if count > 1]
    if twice:
        raise ConfigError(
            f"{len(twice)} images of {data} share their name with another one, such as {twice[0]}: "
            "labels could not tell them apart."
        )
    return pa.Table.from_pylist(rows, PLACES)


def index_hash(samples: pa.Table) -> str:
    """Return the hash of a table of samples, places and labels alike."""
    digest = hashlib.sha256()
    for batch in samples.to_batches(max_chunksize=10_000):
        digest.update(json.dumps(batch.to_pylist()).encode("ascii"))
    return digest.hexdigest()


def _list(data: str, store: StoreConfig, on_passed: OnPassed | None) -> Iterator[SourceObject]:
    scheme, _, path = split_url(data)
    is_list = is_table(data) and not data.lower().endswith(".parquet")
    if is_list or expand_braces(data) or scheme not in ("file", "s3"):
        yield from list_objects(data, store, on_passed)
        return
    if data.lower().endswith((".tar", ".parquet")):
        name = path.rsplit("/", 1)[-1]
        yield SourceObject(name, data if scheme == "s3" else path, None, 0)
        return
    if data.lower().endswith(COMPRESSED):
        raise ConfigError(f"data is {data!r}, a compressed tar: unpack it to .tar.")
    yield from list_source(data, store, on_passed)


def _places_of(
    item: SourceObject, store: StoreConfig, suffixes: tuple[str, ...]
) -> list[dict[str, object]]:
    name = item.image_id.lower()
    if item.from_row:
        return [_place(item.image_id, item.uri, "file", 0, item.size_bytes)]
    if name.endswith(".tar"):
        return _places_in_tar(item, store, suffixes)
    if name.endswith(".parquet"):
        return _places_in_parquet(item, store)
    return [_place(item.image_id, item.uri, "file", 0, item.size_bytes)]


def _places_in_tar(
    item: SourceObject, store: StoreConfig, suffixes: tuple[str, ...]
) -> list[dict[str, object]]:
    """Return the images of a tar; their ids have the tar in them, for names repeat between tars."""
    try:
        with closing(open_object(item.uri, store)) as file:
            index = index_tar(file)
    except (tarfile.TarError, EOFError) as error:
        raise _damaged(item.uri, error) from error
    for name, problem in index.problems:
        if name.lower().endswith(suffixes):
            raise UnreachableError(
                f"{item.uri}: {name} {problem}, or leave the tar out (--exclude)."
            )
    return [
        _place(f"{item.image_id}/{member.name}", item.uri, "tar", member.offset, member.size)
        for member in index.members
        if member.name.lower().endswith(suffixes)
    ]


def _places_in_parquet(item: SourceObject, store: StoreConfig) -> list[dict[str, object]]:
    uri = item.uri
    rows = []
    try:
        with closing(open_object(uri, store)) as source, pq.ParquetFile(source) as file:
            if set(file.schema_arrow.names) >= {"key", "url", "status"}:
                return []  # what img2dataset says of the tar or folder beside
            image_column(file, uri)
            key = id_column(file, uri)
            for group in range(file.num_row_groups):
                ids = read_ids(file, group, key)
                rows += [_place(name, uri, "parquet", group, n) for n, name in enumerate(ids)]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise _damaged(uri, error) from error
    return rows


def _damaged(uri: str, error: Exception) -> UnreachableError:
    return UnreachableError(
        f"The shard {uri} is damaged ({first_line(error)}): repair it or leave it out (--exclude)."
    )


def read_ids(file: pq.ParquetFile, group: int, column: str) -> list[str]:
    """Return the names of the images of a row group.

    Args:
        column: of `id_column`.
    """
    table = file.read_row_group(group, columns=[column], use_threads=False)
    values = table[column.partition(".")[0]].to_pylist()
    return [str(value["path"] if isinstance(value, dict) else value) for value in values]


def id_column(file: pq.ParquetFile, uri: str) -> str:
    """Return the column of a Parquet file that names its images.

    Raises:
        ConfigError: there is none.
    """
    for name in ID_COLUMNS:
        if name in file.schema_arrow.names:
            return name
    for name in IMAGE_COLUMNS:  # `datasets`: a struct of bytes and path
        if name in file.schema_arrow.names:
            kind = file.schema_arrow.field(name).type
            if pa.types.is_struct(kind) and kind.get_field_index("path") >= 0:
                return f"{name}.path"
    raise ConfigError(f"{uri} has no column {' or '.join(ID_COLUMNS)}, nor image.path.")


def image_column(file: pq.ParquetFile, uri: str) -> str:
    """Return the column of a Parquet file that holds images.

    Raises:
        ConfigError: there is none.
    """
    for name in IMAGE_COLUMNS:
        if name in file.schema_arrow.names:
            return name
    raise ConfigError(f"{uri} has no column of images: {', '.join(IMAGE_COLUMNS)}.")


def _place(image_id: str, uri: str, kind: str, offset: int, size: int) -> dict[str, object]:
    values = (image_id, uri, kind, offset, size)
    return dict(zip(PLACES.names, values, strict=True))

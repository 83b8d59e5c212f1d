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
from typing import IO, cast

import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage.sources import IMAGE_SUFFIXES, NameFilter, SourceObject, list_source
from ram_ray.storage.stores import first_line, split_url
from ram_ray.training.data.reading import open_object

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
ID_COLUMNS = ("image_id", "key")
"""Columns of a Parquet file that may name the image."""
_THREADS = 16  # the work is waiting for headers


def index_samples(
    data: str, store: StoreConfig, include: Sequence[str] = (), exclude: Sequence[str] = ()
) -> pa.Table:
    """Return PLACES of all images in a folder, file or prefix.

    Raises:
        ConfigError: no image there, or two of one name.
        UnreachableError: the place cannot be listed or read, or a file is damaged (it is named).
    """
    globs = include or ("*.tar", "*.parquet", *(f"*{suffix}" for suffix in IMAGE_SUFFIXES))
    names = NameFilter(tuple(globs), tuple(exclude))
    listed = [item for item in _list(data, store) if names.accepts(item.image_id)]
    with ThreadPoolExecutor(_THREADS) as threads:
        parts = list(threads.map(lambda item: _places_of(item, store), listed))
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


def _list(data: str, store: StoreConfig) -> Iterator[SourceObject]:
    scheme, _, path = split_url(data)
    if data.lower().endswith((".tar", ".parquet")):
        name = path.rsplit("/", 1)[-1]
        yield SourceObject(name, data if scheme == "s3" else path, None, 0)
        return
    yield from list_source(data, store)


def _places_of(item: SourceObject, store: StoreConfig) -> list[dict[str, object]]:
    if item.uri.endswith(".tar"):
        return _places_in_tar(item.uri, store)
    if item.uri.endswith(".parquet"):
        return _places_in_parquet(item.uri, store)
    return [_place(item.image_id, item.uri, "file", 0, item.size_bytes)]


def _places_in_tar(uri: str, store: StoreConfig) -> list[dict[str, object]]:
    rows = []
    try:
        with closing(open_object(uri, store)) as file:
            size = file.seek(0, 2)
            file.seek(0)
            with tarfile.open(fileobj=cast(IO[bytes], file), mode="r:") as tar:
                end = 0
                for member in tar:
                    end = member.offset_data + member.size
                    if end > size:
                        raise tarfile.ReadError(f"{member.name} reaches beyond the end")
                    if member.isfile() and member.name.lower().endswith(IMAGE_SUFFIXES):
                        row = (member.name.removeprefix("./"), uri, "tar", member.offset_data)
                        rows.append(_place(*row, member.size))
                file.seek(end + -end % tarfile.BLOCKSIZE)
                # tarfile takes a damaged header for the end; a real end is a block of zeros
                if any(file.read(tarfile.BLOCKSIZE)):
                    raise tarfile.ReadError(f"no header at byte {file.tell() - tarfile.BLOCKSIZE}")
    except (tarfile.TarError, EOFError) as error:
        raise UnreachableError(
            f"The shard {uri} is damaged ({first_line(error)}): repair it or leave it out "
            "(--exclude)."
        ) from error
    return rows


def _places_in_parquet(uri: str, store: StoreConfig) -> list[dict[str, object]]:
    rows = []
    try:
        with closing(open_object(uri, store)) as source, pq.ParquetFile(source) as file:
            image_column(file, uri)
            key = id_column(file, uri)
            for group in range(file.num_row_groups):
                ids = file.read_row_group(group, columns=[key])[key].to_pylist()
                rows += [_place(str(name), uri, "parquet", group, n) for n, name in enumerate(ids)]
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, OSError) as error:
        raise UnreachableError(
            f"The shard {uri} is damaged ({first_line(error)}): repair it or leave it out "
            "(--exclude)."
        ) from error
    return rows


def id_column(file: pq.ParquetFile, uri: str) -> str:
    """Return the column of a Parquet file that names its images.

    Raises:
        ConfigError: there is none.
    """
    for name in ID_COLUMNS:
        if name in file.schema_arrow.names:
            return name
    raise ConfigError(f"{uri} has no column {' or '.join(ID_COLUMNS)}.")


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

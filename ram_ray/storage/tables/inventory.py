"""An S3 Inventory as a source: manifest.json names data files, which name the bucket's objects.

https://docs.aws.amazon.com/AmazonS3/latest/userguide/storage-inventory-location.html

In CSV files keys are URL-encoded; in ORC and Parquet they are not. Of a bucket with versions only
the latest counts, and delete markers are no objects.
"""

import csv
import gzip
import io
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import closing
from typing import IO, Any
from urllib.parse import unquote_plus

import pyarrow as pa
import pyarrow.orc
import pyarrow.parquet as pq

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage.object_files import open_object
from ram_ray.storage.reasons import first_line
from ram_ray.storage.sources import SourceObject
from ram_ray.storage.stores import split_url
from ram_ray.storage.uris import whole_uri

MANIFEST = "manifest.json"
_COLUMNS = ("bucket", "key", "is_latest", "is_delete_marker", "size", "e_tag")
_OF_CSV = {
    "Bucket": "bucket",
    "Key": "key",
    "IsLatest": "is_latest",
    "IsDeleteMarker": "is_delete_marker",
    "Size": "size",
    "ETag": "e_tag",
}
"""Names of the CSV's fields in `fileSchema`, and the columns of the other formats."""
_BATCH_ROWS = 10_000


def list_inventory(manifest_uri: str, store: StoreConfig) -> Iterator[SourceObject]:
    """Yield the objects that an inventory names, in its order; their ids are their keys.

    Raises:
        ConfigError: it is no manifest of an inventory.
        UnreachableError: the manifest or a data file cannot be read.
    """
    try:
        with closing(open_object(manifest_uri, store)) as file:
            manifest = json.loads(file.read())
        kind, files = manifest["fileFormat"], [one["key"] for one in manifest["files"]]
        read = {"CSV": _csv_rows, "ORC": _orc_rows, "Parquet": _parquet_rows}[kind]
        schema = str(manifest["fileSchema"])
    except (ValueError, KeyError, TypeError) as error:
        raise ConfigError(
            f"{manifest_uri} is no manifest of an S3 Inventory: it lacks or misstates {error}."
        ) from error
    for key in files:
        uri = _data_uri(manifest_uri, manifest, key)
        try:
            with closing(open_object(uri, store)) as file:
                for row in read(file, schema):
                    found = _object_of(row)
                    if found is not None:
                        yield found
        except (pa.ArrowInvalid, csv.Error, EOFError, OSError, ValueError, KeyError) as error:
            raise UnreachableError(
                f"The inventory's file {uri} cannot be read: {first_line(error)}."
            ) from error


def _data_uri(manifest_uri: str, manifest: Mapping[str, Any], key: str) -> str:
    """Return where a data file is: in the destination bucket, or beside a copied manifest."""
    if split_url(manifest_uri)[0] == "s3":
        bucket = str(manifest.get("destinationBucket", "")).rpartition(":")[2]
        return f"s3://{bucket or split_url(manifest_uri)[1]}/{key}"
    # a copy: .../INVENTORY/DATE/manifest.json, .../INVENTORY/data/FILE
    folder, name = os.path.dirname(split_url(manifest_uri)[2]), os.path.basename(key)
    places = [os.path.join(folder, "..", "data", name), os.path.join(folder, "data", name)]
    places += [os.path.join(folder, name)]
    return os.path.normpath(next((one for one in places if os.path.exists(one)), places[0]))


def _object_of(row: Mapping[str, Any]) -> SourceObject | None:
    """Return a row's object; None: an older version, or a mark that one was deleted."""
    if _is(row.get("is_latest"), False) or _is(row.get("is_delete_marker"), True):
        return None
    bucket, key = row["bucket"], row["key"]
    etag = row.get("e_tag") or None
    if etag is not None and not etag.startswith('"'):
        etag = f'"{etag}"'  # as S3 answers it
    # an inventory without sizes: not known, so that nothing is pinned
    size_bytes = int(row.get("size") or 0)
    return SourceObject(key, whole_uri(f"s3://{bucket}/{key}"), etag, size_bytes)


def _is(value: object, wanted: bool) -> bool:
    return value is wanted or (isinstance(value, str) and value.lower() == str(wanted).lower())


def _csv_rows(file: IO[bytes], schema: str) -> Iterator[Mapping[str, Any]]:
    names = [_OF_CSV.get(name.strip()) for name in schema.split(",")]
    with gzip.open(file) as unpacked:
        for row in csv.reader(io.TextIOWrapper(unpacked, encoding="utf-8", newline="")):
            found = {name: value for name, value in zip(names, row, strict=True) if name}
            yield found | {"key": unquote_plus(found["key"])}


def _orc_rows(file: IO[bytes], _: str) -> Iterator[Mapping[str, Any]]:
    orc = pyarrow.orc.ORCFile(file)
    columns = [name for name in orc.schema.names if name in _COLUMNS]
    for stripe in range(orc.nstripes):
        yield from orc.read_stripe(stripe, columns=columns).to_pylist()


def _parquet_rows(file: IO[bytes], _: str) -> Iterator[Mapping[str, Any]]:
    with pq.ParquetFile(file, pre_buffer=False) as parquet:
        columns = [name for name in parquet.schema_arrow.names if name in _COLUMNS]
        for batch in parquet.iter_batches(_BATCH_ROWS, columns=columns, use_threads=False):
            yield from batch.to_pylist()

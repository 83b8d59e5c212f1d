"""An S3 Inventory is planned as the bucket itself would be: latest versions, keys as they are."""

import gzip
import io
import json
from pathlib import Path
from typing import Any
from urllib.parse import quote, quote_plus

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import orc

from ram_ray.errors import ConfigError, UnreachableError
from tests.conftest import S3Server
from tests.storage.test_listing import bodies, listed

KEYS = ["a b.jpg", "a+b.jpg", "a%20b.jpg", "ü/c.jpg", 'x,"y.jpg']
DATA_KEY = "to/photos/daily/data/one"
MANIFEST_KEY = "to/photos/daily/2026-11-29T01-00Z/manifest.json"


def rows(etags: dict[str, str]) -> list[dict[str, Any]]:
    """Return the inventory's rows: each object, an older version of it, and a deleted one."""
    found: list[dict[str, Any]] = []
    for key, etag in etags.items():
        row = {"bucket": "inv-source", "key": key, "version_id": "1", "is_latest": True}
        row |= {"is_delete_marker": False, "size": len(key.encode()), "e_tag": etag}
        found += [row, row | {"version_id": "0", "is_latest": False, "e_tag": "old"}]
    gone = {"key": "gone.jpg", "is_delete_marker": True, "size": None, "e_tag": None}
    return [*found, found[0] | gone]


def data_file(kind: str, found: list[dict[str, Any]]) -> bytes:
    """Return the rows as AWS writes them."""
    out = io.BytesIO()
    if kind == "Parquet":
        pq.write_table(pa.Table.from_pylist(found), out)
    elif kind == "ORC":
        orc.write_table(pa.Table.from_pylist(found), out)
    else:
        encode = quote if kind == "CSV-quote" else quote_plus
        lines = [
            ",".join(
                f'"{encode(value)}"' if name == "key" else f'"{"" if value is None else value}"'
                for name, value in row.items()
            ).replace('"True"', '"true"').replace('"False"', '"false"')
            for row in found
        ]  # fmt: skip
        out.write(gzip.compress("\n".join(lines).encode()))
    return out.getvalue()


def manifest(kind: str) -> bytes:
    """Return the manifest of one data file."""
    schema = "Bucket, Key, VersionId, IsLatest, IsDeleteMarker, Size, ETag"
    told = {"sourceBucket": "inv-source", "destinationBucket": "arn:aws:s3:::inv-target"}
    told |= {"fileFormat": kind.partition("-")[0], "fileSchema": schema}
    return json.dumps(told | {"files": [{"key": DATA_KEY, "size": 1}]}).encode()


@pytest.fixture(scope="module")
def etags(s3: S3Server) -> dict[str, str]:
    """Return the etags of a bucket's objects, without quotes, as an inventory has them."""
    s3.bucket("inv-source", {key: key.encode() for key in KEYS})
    s3.client.create_bucket(Bucket="inv-target")
    found = s3.client.list_objects_v2(Bucket="inv-source")["Contents"]
    return {one["Key"]: one["ETag"].strip('"') for one in found}


@pytest.mark.parametrize("kind", ["CSV", "CSV-quote", "ORC", "Parquet"])
def test_every_format_gives_the_latest_objects(
    kind: str, etags: dict[str, str], s3: S3Server, tmp_path: Path
) -> None:
    data = data_file(kind, rows(etags))
    s3.client.put_object(Bucket="inv-target", Key=DATA_KEY, Body=data)
    s3.client.put_object(Bucket="inv-target", Key=MANIFEST_KEY, Body=manifest(kind))
    found = listed(f"s3://inv-target/{MANIFEST_KEY}", s3.config)
    assert {one.image_id: one.etag for one in found} == {k: f'"{v}"' for k, v in etags.items()}
    assert bodies(found, s3.config) == {key: key.encode() for key in KEYS}
    copy = tmp_path / "daily" / "2026" / "manifest.json"
    copy.parent.mkdir(parents=True)
    copy.write_bytes(manifest(kind))
    (tmp_path / "daily" / "data").mkdir()
    (tmp_path / "daily" / "data" / "one").write_bytes(data)
    assert listed(copy, s3.config) == found


def test_what_is_no_inventory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "manifest.json").write_text('{"files": []}')
    with pytest.raises(ConfigError, match=r"no manifest of an S3 Inventory: .*'fileFormat'"):
        listed(tmp_path / "manifest.json")
    (tmp_path / "manifest.json").write_bytes(manifest("CSV"))
    with pytest.raises(UnreachableError, match="one"):
        listed(tmp_path / "manifest.json")
    (tmp_path / "one").write_bytes(b"cut")
    with pytest.raises(UnreachableError, match=r"The inventory's file .*one cannot be read"):
        listed(tmp_path / "manifest.json")

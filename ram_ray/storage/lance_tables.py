"""Lance tables, by the `lance` extra: opened at one version, which is their pin."""

import os
from typing import TYPE_CHECKING, Any

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage.pins import changed
from ram_ray.storage.reasons import first_line

if TYPE_CHECKING:
    import lance

LANCE = ".lance"
"""Ending of a table's folder."""
BLOB = b"lance-encoding:blob"
"""Metadata of a column whose values lie outside its pages."""


def open_lance(
    place: str, config: StoreConfig, *, etag: str | None = None
) -> "tuple[lance.LanceDataset, str]":
    """Open a table, and tell what this version of it is pinned by.

    Args:
        place: an absolute path, or s3://bucket/table.lance.
        etag: of the version that is wanted; None: the newest.

    Raises:
        ConfigError: the extra is not installed.
        ImageError: `changed`: there is no such version any more.
        UnreachableError: it cannot be opened.
    """
    try:
        import lance
    except ImportError as error:
        raise ConfigError(
            f"{place} is a Lance table, which needs a package: pip install 'ram-ray[lance]'."
        ) from error
    version = None if etag is None else int(etag.split(":")[1])
    try:
        table = lance.dataset(place, version=version, storage_options=_options(place, config))
        told = next(one for one in table.versions() if one["version"] == table.version)
    except (ValueError, OSError, StopIteration) as error:
        if etag is not None and "not found" in str(error).lower():
            raise changed() from error
        raise UnreachableError(f"Cannot open {place}: {first_line(error)}.") from error
    found = f"version:{table.version}:{told['timestamp']}"
    if etag is not None and found != etag:
        raise changed()
    return table, found


def read_lance_cell(table: "lance.LanceDataset", row: int, column: str) -> bytes | None:
    """Return a cell's bytes; None where it is null.

    Raises:
        ImageError: `changed`: there is no such row.
    """
    outer, _, part = column.partition(".")
    field = table.schema.field(outer)
    if row >= table.count_rows():
        raise changed()
    if (field.metadata or {}).get(BLOB) == b"true":
        (blob,) = table.take_blobs(outer, indices=[row]) or [None]
        return None if blob is None else blob.read()
    (value,) = table.take([row], columns=[outer])[outer].to_pylist()
    return value[part] if part and value is not None else value


def _options(place: str, config: StoreConfig) -> dict[str, Any] | None:
    if not place.startswith("s3://"):
        return None
    options = {"allow_http": "true"}
    endpoint = config.endpoint_url or os.environ.get("AWS_ENDPOINT_URL")
    options |= {"aws_endpoint": endpoint} if endpoint else {}
    region = config.region or os.environ.get("AWS_DEFAULT_REGION")
    options |= {"aws_region": region} if region else {}
    return options | ({"aws_skip_signature": "true"} if config.anonymous else {})

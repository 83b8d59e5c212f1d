"""What a `uri` column names, as bytes: a whole object, a member of a tar, a row of a table."""

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.storage.again import STORE_ERRORS
from ram_ray.storage.object_files import Span, object_now
from ram_ray.storage.pins import check_length
from ram_ray.storage.reasons import describe
from ram_ray.storage.regular_files import open_regular
from ram_ray.storage.stores import split_url
from ram_ray.storage.table_rows import read_cell
from ram_ray.storage.uris import split_member, split_row


def read_uri(uri: str, config: StoreConfig) -> bytes:
    """Return what a `uri` column names: a path, s3://bucket/key, a member or a row.

    Raises:
        FileNotFoundError: it is gone.
        ImageError: it is not what it was, or the web server does not give it.
        UnreachableError: it cannot be read.
    """
    cell = split_row(uri)
    place, part = split_member(uri)
    scheme, _, path = split_url(place)
    try:
        if cell is not None:
            return read_cell(*cell, config)
        if scheme == "file":
            return _read_part(path, part) if part else _read_all(path)
        return object_now(place, config).read((part[0], sum(part)) if part else None).data
    except FileNotFoundError:
        raise
    except (*STORE_ERRORS, ValueError) as error:
        raise UnreachableError(f"Cannot read {uri}: {describe(error)}") from error


def _read_all(path: str) -> bytes:
    with open_regular(path) as file:
        return file.read()


def _read_part(path: str, part: Span) -> bytes:
    with open_regular(path) as file:
        file.seek(part[0])
        data = file.read(part[1])
    check_length(data, part[1])
    return data

"""How a URI names the bytes of an image: a whole object, a part of a tar, or a row of a table.

/photos/a.jpg, s3://bucket/a.jpg    a whole object: after the bucket's name comes its key, as it is
s3://bucket/x.tar#512+1000          1,000 bytes of x.tar from byte 512: a member
s3://bucket/x.parquet#3/17/image    column "image" of row 17 of row group 3, both from 0
s3://bucket/x.lance#0/17/image      column "image" of row 17 of the table, from 0
s3://bucket/x.tar#512+1000#         the object whose key is "x.tar#512+1000"
"""

import re
from typing import NamedTuple
from urllib.parse import quote, unquote

_MEMBER = re.compile(r"(?P<tar>.+\.(?i:tar))#(?P<offset>\d+)\+(?P<size>\d+)", re.DOTALL)
_ROW = re.compile(
    r"(?P<table>.+\.(?i:parquet|lance))#(?P<group>\d+)/(?P<row>\d+)/(?P<column>[^/#]+)", re.DOTALL
)
_LIKE_MEMBER = re.compile(_MEMBER.pattern + "#*", re.DOTALL)
_LIKE_ROW = re.compile(_ROW.pattern + "#*", re.DOTALL)
WEB = ("http", "https", "hf")
"""Schemes that are read over HTTP, and cannot be written."""


class Row(NamedTuple):
    """Which cell of a table."""

    group: int
    """Row group, from 0; of a Lance table 0."""
    row: int
    """Within the group, from 0."""
    column: str
    """A part of a struct as "image.bytes"."""


def member_uri(tar_uri: str, offset: int, size: int) -> str:
    """Return the URI of some bytes of a tar: where a member's content lies."""
    return f"{tar_uri}#{offset}+{size}"


def row_uri(table_uri: str, row: Row) -> str:
    """Return the URI of a cell of a table that holds an image's bytes."""
    return f"{table_uri}#{row.group}/{row.row}/{quote(row.column, safe='')}"


def whole_uri(place: str) -> str:
    """Return the URI of a whole object, whatever its name looks like.

    Args:
        place: an absolute path, a file:// URL, or s3://bucket/key.
    """
    return f"{place}#" if _is_like_part(place) else place


def split_member(uri: str) -> tuple[str, tuple[int, int] | None]:
    """Return the object's place, and (offset, size) where only a part of a tar is meant."""
    match = _MEMBER.fullmatch(uri)
    if match is not None:
        return match["tar"], (int(match["offset"]), int(match["size"]))
    escaped = uri.endswith("#") and _is_like_part(uri)
    return (uri[:-1] if escaped else uri), None


def split_row(uri: str) -> tuple[str, Row] | None:
    """Return the table's URI and which cell of it is meant; None: it names no cell."""
    match = _ROW.fullmatch(uri)
    if match is None:
        return None
    row = Row(int(match["group"]), int(match["row"]), unquote(match["column"]))
    return match["table"], row


def _is_like_part(place: str) -> bool:
    return bool(_LIKE_MEMBER.fullmatch(place) or _LIKE_ROW.fullmatch(place))


def object_key(place: str, bucket: str) -> str:
    """Return the key of scheme://bucket/key, as it is: also with slashes at its ends."""
    return place.partition("://")[2].removeprefix(bucket).removeprefix("/")


def obstore_keeps(key: str) -> bool:
    """Tell whether obstore asks for this very key.

    It takes a leading or trailing slash away, silently, and refuses empty and dot segments.
    """
    return all(part not in ("", ".", "..") for part in key.split("/")) and key.isprintable()

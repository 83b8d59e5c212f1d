"""Which column of a table says where an image is, holds its bytes, or is its id.

Names are tried first, then what stands in the rows; what cannot be told is refused, and the option
that names the column is told.
"""

import re
from collections.abc import Sequence

import pyarrow as pa

from ram_ray.config import ImageTables
from ram_ray.errors import ConfigError
from ram_ray.storage.sources import PICTURE_SUFFIXES

URI_COLUMNS = ("uri", "url", "s3_uri", "image_uri", "image_url", "image_path", "filepath",
               "file_path", "path", "file_name", "filename", "file", "image")  # fmt: skip
"""Columns that may say where an image is, the likeliest first; case does not matter."""
BYTES_COLUMNS = ("image", "jpg", "bytes", "png", "webp", "img", "image_bytes")
"""Columns that may hold an image: bytes, or a struct with a field `bytes`, as `datasets` writes."""
ID_COLUMNS = ("image_id", "key", "file_name")
"""Columns that may name the image of a table."""
BY_ROW = "#row"
"""As `id_column`: an image is called after its file and row."""

_ADDRESS = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://.+", re.DOTALL)
_MOST = 0.95
"""Share of rows that makes a column one of places."""


def is_place(text: str) -> bool:
    """Tell whether a text looks like the place of an image: an address, or a picture's name."""
    return bool(_ADDRESS.fullmatch(text)) or text.lower().endswith(PICTURE_SUFFIXES)


def find_named(option: str, wanted: str, names: Sequence[str], what: str) -> str:
    """Return the column that an option names.

    Raises:
        ConfigError: there is none of this name.
    """
    for same in (lambda name: name == wanted, lambda name: name.lower() == wanted.lower()):
        found = [name for name in names if same(name)]
        if found:
            return found[0]
    raise ConfigError(f"{option} is {wanted!r}, but must be a column of {what}: {_told(names)}.")


def find_uri_column(
    tables: ImageTables, names: Sequence[str], rows: Sequence[Sequence[object]], what: str
) -> str:
    """Return the column that says where the images are.

    Args:
        rows: some of the table, each with a value for every name.
        what: the table's name, for errors.

    Raises:
        ConfigError: it cannot be told.
    """
    if tables.uri_column is not None:
        return find_named("uri_column", tables.uri_column, names, what)
    values = {name: [row[at] for row in rows] for at, name in enumerate(names)}
    places = [name for name in names if _is_of_places(values[name])]
    named = [name for wanted in URI_COLUMNS for name in names if name.lower() == wanted]
    both = [name for name in named if name in places]
    for found in (both[:1], places, named[:1], list(names)):
        if len(found) == 1:
            return found[0]
    raise ConfigError(
        f"Which column of {what} says where the images are cannot be told ({_told(names)}): name "
        "it with --uri-column."
    )


def find_bytes_column(tables: ImageTables, schema: pa.Schema, what: str) -> str | None:
    """Return the column that holds images, of a struct its part, as "image.bytes"; None without.

    Raises:
        ConfigError: the named one holds no bytes, or it cannot be told.
    """
    held = {name: part for name in schema.names if (part := _bytes_of(schema.field(name)))}
    if tables.image_column is not None:
        name = find_named("image_column", tables.image_column, schema.names, what)
        if name not in held:
            kind = schema.field(name).type
            raise ConfigError(f"image_column is {name!r}, but that holds {kind}, not bytes.")
        return held[name]
    if tables.uri_column is not None:
        return None
    named = [held[name] for wanted in BYTES_COLUMNS for name in held if name.lower() == wanted]
    if named or len(held) < 2:
        return (named or list(held.values()) or [None])[0]
    raise ConfigError(
        f"Which column of {what} holds the images cannot be told ({_told(list(held))}): name it "
        "with --image-column."
    )


def find_id_column(
    tables: ImageTables, schema: pa.Schema, image_column: str, what: str
) -> str | None:
    """Return the column of the ids of a table of images; None: file and row.

    Args:
        image_column: of `find_bytes_column`.

    Raises:
        ConfigError: there is none of the name that was given.
    """
    if tables.id_column == BY_ROW:
        return None
    if tables.id_column is not None:
        return find_named("id_column", tables.id_column, schema.names, what)
    for wanted in ID_COLUMNS:
        if wanted in schema.names:
            return wanted
    outer, _, part = image_column.rpartition(".")
    if part == "bytes" and outer in schema.names:
        kind = schema.field(outer).type
        if pa.types.is_struct(kind) and kind.get_field_index("path") >= 0:
            return f"{outer}.path"
    return None


def _bytes_of(field: pa.Field) -> str | None:
    kind = field.type
    if pa.types.is_struct(kind):
        at = kind.get_field_index("bytes")
        return f"{field.name}.bytes" if at >= 0 and _is_binary(kind.field(at).type) else None
    return field.name if _is_binary(kind) else None


def _is_binary(kind: pa.DataType) -> bool:
    return pa.types.is_binary(kind) or pa.types.is_large_binary(kind)


def _is_of_places(values: Sequence[object]) -> bool:
    texts = [value for value in values if value not in (None, "")]
    found = sum(isinstance(text, str) and is_place(text) for text in texts)
    return bool(texts) and found >= _MOST * len(texts)


def _told(names: Sequence[str]) -> str:
    return ", ".join(names[:12]) + (", ..." if len(names) > 12 else "")

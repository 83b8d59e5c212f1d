"""The stored tables: the contract between pipelines, which meet only through files.

Every file is Parquet with exactly these columns, in this order. Readers outside this project
(DuckDB, pandas, polars) need nothing else.
"""

import pyarrow as pa

PLAN = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),  # the caller's key, never rewritten
        pa.field("uri", pa.string(), nullable=False),  # where the bytes are
        pa.field("member_offset", pa.int64()),  # null: the whole object is the image
        pa.field("member_size", pa.int64()),
        pa.field("etag", pa.string()),  # as listed; null where the store has none
        pa.field("size_bytes", pa.int64(), nullable=False),
    ]
)

TAGS = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("width", pa.int32(), nullable=False),  # pixels, as stored (before orientation)
        pa.field("height", pa.int32(), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),  # parallel lists, score falling
        pa.field("tag_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("scores", pa.list_(pa.float32()), nullable=False),  # sigmoid, 0..1
    ]
)

CAPTION = pa.field("caption", pa.string(), nullable=False)  # one sentence in English


def tags_schema(*, captions: bool) -> pa.Schema:
    """Return the columns of a run's tags files: TAGS, and the caption where a run writes them."""
    return TAGS.append(CAPTION) if captions else TAGS


QUARANTINE = pa.schema(
    [
        pa.field("image_id", pa.string(), nullable=False),
        pa.field("uri", pa.string(), nullable=False),
        pa.field("error_code", pa.string(), nullable=False),  # an ImageErrorCode
        pa.field("message", pa.string(), nullable=False),
        pa.field("attempts", pa.int32(), nullable=False),  # tries of the step that failed
        pa.field("size_bytes", pa.int64(), nullable=False),  # as listed
    ]
)

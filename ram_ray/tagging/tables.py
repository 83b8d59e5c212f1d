"""The stored tables of tagging: the contract with all who read them, in files alone.

Every file is Parquet with exactly these columns, in this order. Readers outside this project
(DuckDB, pandas, polars) need nothing else.
"""

from collections import Counter
from collections.abc import Iterable

import pyarrow as pa

from ram_ray.runs.commits import Commit, commit_shard
from ram_ray.runs.committer import ROW
from ram_ray.runs.fields import OPTIONAL_COLUMNS
from ram_ray.storage.stores import Store

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

CHANGED_ETAG = pa.field("changed_etag", pa.string())
"""Of the content that was tagged, where the object was replaced after it was listed; else null."""

_OPTIONAL = {field.name: field for field in (CAPTION, CHANGED_ETAG)}


def tags_schema(
    *, captions: bool = False, changes: bool = False, like: Iterable[str] = ()
) -> pa.Schema:
    """Return the columns of a run's tags files: TAGS, then those a run adds, in one order.

    Args:
        captions: the run writes captions.
        changes: the run names the content of objects that were replaced after they were listed.
        like: names of columns, whose optional ones are taken too.
    """
    asked = {*like, *((CAPTION.name,) if captions else ())}
    asked |= {CHANGED_ETAG.name} if changes else set()
    added = [_OPTIONAL[name] for name in OPTIONAL_COLUMNS if name in asked]
    return pa.schema([*TAGS, *added])


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

REMARKS = pa.field("remarks", pa.list_(pa.string()))  # `ram_ray.images.remarks.Remark`

TAG_ROWS = tags_schema(changes=True).append(REMARKS).append(ROW)
CAPTIONED_ROWS = tags_schema(captions=True, changes=True).append(REMARKS).append(ROW)
QUARANTINE_ROWS = QUARANTINE.append(ROW)
"""What taggers hand to a committer, chunk by chunk: ROW says where in the shard; REMARKS are
counted in its commit."""


def commit_tags(
    store: Store,
    shard: int,
    plan: pa.Table,
    tags: pa.Table,
    quarantine: pa.Table,
    *,
    changes: bool = False,
) -> Commit:
    """Commit a whole shard's rows in the stored schemas: the `CommitRows` of tagging.

    Args:
        changes: the run's rows have CHANGED_ETAG; those of runs that 0.1.0 began have not.
    """
    names = {*tags.column_names} - (set() if changes else {CHANGED_ETAG.name})
    stored = tags_schema(like=names)
    told = tags[REMARKS.name].to_pylist() if REMARKS.name in tags.column_names else ()
    return commit_shard(
        store,
        shard,
        plan,
        tags.select(stored.names).cast(stored),
        quarantine.cast(QUARANTINE),
        remarks=Counter(remark for remarks in told for remark in remarks or ()),
    )

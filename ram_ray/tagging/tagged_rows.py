"""A tagged chunk as rows of the two tables, column by column: no Python object per value."""

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

import numpy as np
import pyarrow as pa

from ram_ray.errors import ImageErrorCode
from ram_ray.runs.committer import ROW
from ram_ray.tagging.tables import CAPTION, CAPTIONED_ROWS, QUARANTINE_ROWS, TAG_ROWS

_NO_FAILURES: Mapping[int, str] = MappingProxyType({})


def to_rows(
    facts: pa.Table,
    found: Sequence[Any],
    failed: Mapping[int, str] = _NO_FAILURES,
    *,
    captions: bool = False,
) -> tuple[pa.Table, pa.Table]:
    """Split a tagged chunk into TAG_ROWS (with captions: CAPTIONED_ROWS) and QUARANTINE_ROWS.

    Args:
        facts: one row of CHUNK_PIXELS without its pixels.
        found: per image a `ram_model.Tags`; ignored where `error_code` is set.
        failed: position of an image that the model could not do, to the reason.
    """
    images = _per_image(facts, failed)
    is_bad = ~np.array(images["error_code"].is_null())
    images_ok = images.filter(pa.array(~is_bad))
    schema = CAPTIONED_ROWS if captions else TAG_ROWS
    tags = [found[position] for position in np.flatnonzero(~is_bad).tolist()]
    made = _tag_columns(tags) | (
        {CAPTION.name: pa.array([one.caption for one in tags], pa.string())} if captions else {}
    )
    columns = [
        made[field.name] if field.name in made else images_ok[field.name].cast(field.type)
        for field in schema
    ]
    quarantine = images.filter(pa.array(is_bad)).select(QUARANTINE_ROWS.names).cast(QUARANTINE_ROWS)
    return pa.Table.from_arrays(columns, schema=schema), quarantine


def _per_image(facts: pa.Table, failed: Mapping[int, str]) -> pa.Table:
    """Return a row per image of a chunk, with its plan row and what failed in the model too."""
    columns = {
        field.name: facts[field.name].combine_chunks().flatten()
        for field in facts.schema
        if pa.types.is_list(field.type)
    }
    count = len(columns["image_id"])
    first = facts["first_row"][0].as_py()
    columns[ROW.name] = pa.array(np.arange(first, first + count, dtype=np.int32))
    if failed:
        codes, messages = (columns[name].to_pylist() for name in ("error_code", "message"))
        for position, message in failed.items():
            codes[position], messages[position] = ImageErrorCode.MODEL_ERROR.value, message
        columns["error_code"] = pa.array(codes, pa.string())
        columns["message"] = pa.array(messages, pa.string())
    return pa.table(columns)


def _tag_columns(tags: Sequence[Any]) -> dict[str, pa.Array]:
    ends = np.cumsum([0, *(len(one) for one in tags)], dtype=np.int32)
    names = pa.array([name for one in tags for name in one.names], pa.string())
    ids = np.concatenate([np.zeros(0, np.int32), *(one.tag_ids for one in tags)])
    scores = np.concatenate([np.zeros(0, np.float32), *(one.scores for one in tags)])
    values = {"tags": names, "tag_ids": pa.array(ids), "scores": pa.array(scores)}
    return {name: pa.ListArray.from_arrays(ends, value) for name, value in values.items()}

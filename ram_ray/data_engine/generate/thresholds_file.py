"""The file of the thresholds above which tags are added, thresholds.parquet of `generate`."""

from typing import Any

import numpy as np
import pyarrow as pa

from ram_model.vocabulary import Vocabulary
from ram_ray.config import StoreConfig
from ram_ray.data_engine.generate.choose import Thresholds
from ram_ray.data_engine.generate.promises import Kept
from ram_ray.data_engine.generate.threshold_search import NEVER
from ram_ray.storage.parquet import table_of
from ram_ray.storage.stores import Store, open_store

THRESHOLDS_KEY = "thresholds.parquet"
GENERATED_TAG, GENERATED_CAPTION = "generated_tag", "generated_caption"
THRESHOLDS = pa.schema(
    [
        pa.field("rule", pa.string(), nullable=False),  # generated_tag or generated_caption
        pa.field("tag_id", pa.int32(), nullable=False),
        pa.field("tag", pa.string(), nullable=False),
        pa.field("threshold", pa.float32(), nullable=False),  # 1: the tag is never added
        pa.field("precision", pa.float32(), nullable=False),  # estimated, of the additions; NaN
        pa.field("num_additions", pa.int64(), nullable=False),  # in the sample
        pa.field("evidence", pa.string(), nullable=False),  # trusted, agreement or own_caption
        # of the additions of all rules and tags, on images the thresholds were not chosen on
        pa.field("kept_precision", pa.float32()),  # about this share is right; null: unchecked
        pa.field("kept_at_least", pa.float32()),  # its one-sided 95 % bound
        pa.field("kept_additions", pa.int64()),
        pa.field("reason", pa.string()),  # why nothing is added at all
    ]
)


def threshold_rows(rule: str, chosen: Thresholds, vocabulary: Vocabulary) -> list[dict[str, Any]]:
    """Return the THRESHOLDS rows of one rule."""
    kept = chosen.kept
    return [
        {
            "rule": rule,
            "tag_id": tag_id,
            "tag": name,
            "threshold": float(chosen.values[tag_id]),
            "precision": float(chosen.precision[tag_id]),
            "num_additions": int(chosen.num_additions[tag_id]),
            "evidence": chosen.evidence,
            "kept_precision": None if kept is None else kept.precision,
            "kept_at_least": None if kept is None else kept.at_least,
            "kept_additions": None if kept is None else kept.num_additions,
            "reason": chosen.reason,
        }
        for tag_id, name in enumerate(vocabulary.names)
    ]


def read_thresholds(data: bytes, num_tags: int) -> dict[str, Thresholds]:
    """Return the thresholds by rule."""
    table = table_of(data)
    found: dict[str, Thresholds] = {}
    for rule in table["rule"].unique().to_pylist():
        rows = [row for row in table.to_pylist() if row["rule"] == rule]
        values, precision = np.full(num_tags, NEVER, np.float32), np.full(num_tags, np.nan)
        number = np.zeros(num_tags, np.int64)
        for row in rows:
            values[row["tag_id"]] = row["threshold"]
            precision[row["tag_id"]] = row["precision"]
            number[row["tag_id"]] = row["num_additions"]
        found[rule] = Thresholds(
            values=values,
            precision=precision.astype(np.float32),
            num_additions=number,
            evidence=rows[0]["evidence"],
            kept=_kept(rows[0]),
            reason=rows[0].get("reason"),
        )
    return found


def _kept(row: dict[str, Any]) -> Kept | None:
    if row.get("kept_precision") is None:
        return None
    return Kept(
        precision=row["kept_precision"],
        at_least=row["kept_at_least"],
        num_additions=row["kept_additions"],
    )


def stored_thresholds(
    store: Store, folder: str | None, config: StoreConfig
) -> list[dict[str, Any]]:
    """Return the THRESHOLDS rows of a run's `generate` step.

    Args:
        store: of the run.
        folder: of the step in it; None: nothing was generated, and there are none.
    """
    if folder is None:
        return []
    data = open_store(f"{store.url.rstrip('/')}/{folder}", config).read(THRESHOLDS_KEY)
    return table_of(data).to_pylist()

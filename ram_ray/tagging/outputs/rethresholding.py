"""New thresholds for a run that kept its scores, without a second pass over the images.

rethreshold("run", "stricter", thresholds=0.8)
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import numpy as np
import pyarrow as pa

from ram_ray.config import StoreConfig, require
from ram_ray.errors import ConfigError
from ram_ray.runs.plan_files import PLAN_KEY
from ram_ray.runs.plans import shard_name, to_parquet
from ram_ray.storage.stores import Store, open_store
from ram_ray.tagging.outputs.published_rows import published_tags, read_finished_run
from ram_ray.tagging.outputs.run_output import check_all_scores_kept
from ram_ray.tagging.record import RunRecord

RECORD_KEY = "rethreshold.json"
_LISTS = ("tags", "tag_ids", "scores")


@dataclass(frozen=True, kw_only=True, slots=True)
class RethresholdReport:
    """What was written."""

    source: str
    thresholds_sha256: str
    """Of the float32 thresholds, little-endian; one number counts as one."""
    images: int
    tags_before: int
    tags_after: int


def rethreshold(
    output: str,
    target: str,
    thresholds: float | Sequence[float],
    store: StoreConfig | None = None,
) -> RethresholdReport:
    """Write `target`/tags/ with the tags of a run whose score is above new thresholds.

    Rows, columns and their order stay; an image that loses all its tags keeps its row. The run
    itself is not changed, its quarantine/ stays where it is. `rethreshold.json` is written last.

    Args:
        output: folder or s3:// prefix of a finished run with `score_floor`.
        target: another folder or prefix; a second call with the same source replaces its files.
        thresholds: 0..1, one for all tags or one per tag id; none below the run's floor.
        store: endpoint and region of both.

    Raises:
        ConfigError: the run, the target or the thresholds cannot be used; nothing was written, but
            where a tag turns up that has no threshold.
    """
    store = store or StoreConfig()
    source = open_store(output, store)
    record, shards = read_finished_run(source)
    least = np.atleast_1d(np.asarray(thresholds, np.float32))
    _check(record, least, source.url)
    into = open_store(target, store, create=True)
    _check_target(source, into, shards)
    images = before = after = 0
    for shard, table in published_tags(source, shards):
        kept = above(table, least)
        into.write(f"tags/{shard_name(shard)}.parquet", to_parquet(kept))
        images += table.num_rows
        before += len(table["scores"].combine_chunks().flatten())
        after += len(kept["scores"].combine_chunks().flatten())
    report = RethresholdReport(
        source=source.url,
        thresholds_sha256=hashlib.sha256(least.astype("<f4").tobytes()).hexdigest(),
        images=images,
        tags_before=before,
        tags_after=after,
    )
    into.write(RECORD_KEY, json.dumps(asdict(report), indent=1).encode())
    return report


def above(table: pa.Table, thresholds: np.ndarray) -> pa.Table:
    """Return a tags table without the tags whose score is not above their threshold.

    Args:
        table: `schema.TAGS`, perhaps with more columns.
        thresholds: float32 [1] for all tags, or [tags].

    Raises:
        ConfigError: a tag has no threshold.
    """
    lists = {name: table[name].combine_chunks() for name in _LISTS}
    values = {name: column.flatten() for name, column in lists.items()}
    ids = values["tag_ids"].to_numpy(zero_copy_only=False)
    if len(thresholds) > 1:
        if len(ids) and ids.max() >= len(thresholds):
            raise ConfigError(
                f"thresholds has {len(thresholds)} values, but the run has a tag with id "
                f"{ids.max()}; give one for each tag."
            )
        least = thresholds[ids]
    else:
        least = thresholds[0]
    keep = values["scores"].to_numpy(zero_copy_only=False) > least
    row_of = np.repeat(np.arange(table.num_rows), lists["scores"].value_lengths().to_numpy())
    counts = np.bincount(row_of[keep], minlength=table.num_rows)
    offsets = pa.array(np.concatenate([[0], np.cumsum(counts)]).astype(np.int32))
    for name in _LISTS:
        kept = pa.ListArray.from_arrays(offsets, values[name].filter(pa.array(keep)))
        field = table.schema.field(name)
        table = table.set_column(table.schema.get_field_index(name), field, kept.cast(field.type))
    return table


def _check(record: RunRecord, thresholds: np.ndarray, url: str) -> None:
    floor = check_all_scores_kept(record, url)
    for tag_id, value in enumerate(thresholds.tolist()):
        require(0 <= value <= 1, f"thresholds[{tag_id}]", value, "between 0 and 1")
        if value < np.float32(floor):
            raise ConfigError(
                f"thresholds[{tag_id}] is {value:g}, but {url} kept scores from "
                f"{floor:g} up only; tag again with a lower --score-floor."
            )


def _check_target(source: Store, target: Store, shards: int) -> None:
    if target.url == source.url or target.exists(PLAN_KEY) or target.exists("run.json"):
        raise ConfigError(f"{target.url} holds a run; give another target, it is never changed.")
    known = {f"tags/{shard_name(shard)}.parquet" for shard in range(shards)}
    foreign = next((key for key in target.list("tags") if key not in known), None)
    ours = target.exists(RECORD_KEY) and json.loads(target.read(RECORD_KEY))
    if foreign or (ours and ours["source"] != source.url):
        raise ConfigError(
            f"{target.url} holds {foreign or 'tags of another run'}; give an empty target."
        )

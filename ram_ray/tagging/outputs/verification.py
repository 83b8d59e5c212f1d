"""Recount a run from its files: planned = tagged + quarantined, nothing missing, nothing twice."""

from collections import Counter
from dataclasses import dataclass
from hashlib import blake2b

import numpy as np
import pyarrow as pa

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.runs.commits import (
    Commit,
    ConservationError,
    read_commit,
    read_published,
    retried_shards,
)
from ram_ray.runs.plan_files import plan_place
from ram_ray.runs.plans import PlanSummary, read_plan, read_plan_shard, shard_name
from ram_ray.storage.stores import Store, open_store
from ram_ray.tagging.record import read_record
from ram_ray.tagging.retrying.retries import unfinished_retry
from ram_ray.tagging.tables import QUARANTINE, tags_schema

MAX_PROBLEMS = 20
"""Problems told one by one; the counts tell the rest."""


@dataclass(frozen=True, kw_only=True, slots=True)
class VerifyReport:
    """What the files of a run hold, counted row by row."""

    planned: int
    tagged: int
    quarantined: int
    missing: int
    """Planned images without a row, uncommitted shards included."""
    duplicate: int
    """Rows beyond the first of a planned image, and rows of images nobody planned."""
    shards: int
    uncommitted_shards: int
    problems: tuple[str, ...]
    unfinished_retry: int | None = None
    """Number of a retry that was interrupted; between two of its files a shard may look wrong."""

    @property
    def ok(self) -> bool:
        """Tell whether the run is whole and every file is what was committed."""
        return not (self.missing or self.duplicate or self.uncommitted_shards or self.problems)


def verify_output(output: str, store: StoreConfig | None = None) -> VerifyReport:
    """Read every plan, tags and quarantine file of a run; one shard in memory at a time.

    Raises:
        ConfigError: there is no run in `output`.
        UnreachableError: it cannot be read.
    """
    opened = open_store(output, store or StoreConfig())
    plan = read_plan(opened)
    if plan is None:
        raise ConfigError(f"{output} holds no finished plan; give the OUTPUT of `ram-ray tag`.")
    record = read_record(opened)
    captions = record is not None and record.caption is not None
    changes = record is not None and record.changed_etag
    schemas = (tags_schema(captions=captions, changes=changes), QUARANTINE)
    count: Counter[str] = Counter()
    problems: list[str] = _strays(opened, plan)
    retries = retried_shards(opened)
    hashes: list[np.ndarray] = []
    for shard in range(plan.shards):
        planned = read_plan_shard(opened, shard)
        count["planned"] += planned.num_rows
        hashes.append(_hashes(planned))
        try:
            commit = read_commit(opened, shard, retries.get(shard, 0))
        except FileNotFoundError:
            count["uncommitted"] += 1
            count["missing"] += planned.num_rows
            continue
        if commit.plan_sha256 not in (None, plan_place(opened).sha256):
            problems.append(f"The commit of {shard_name(shard)} is of another plan.")
        count.update(_count_shard(opened, planned, commit, schemas, problems))
    if count["planned"] != plan.rows:
        problems.append(f"The plan counts {plan.rows} images, its shards hold {count['planned']}.")
    problems += _repeated_ids(opened, hashes)
    return VerifyReport(
        planned=count["planned"],
        tagged=count["tagged"],
        quarantined=count["quarantined"],
        missing=count["missing"],
        duplicate=count["duplicate"],
        shards=plan.shards,
        uncommitted_shards=count["uncommitted"],
        problems=tuple(problems[:MAX_PROBLEMS]),
        unfinished_retry=retry.number if (retry := unfinished_retry(opened)) else None,
    )


def _count_shard(
    store: Store,
    planned: pa.Table,
    commit: Commit,
    schemas: tuple[pa.Schema, pa.Schema],
    problems: list[str],
) -> Counter[str]:
    count: Counter[str] = Counter()
    found: Counter[tuple[str, str]] = Counter()
    kinds = ("tagged", "quarantined")
    for file, kind, schema in zip(commit.files, kinds, schemas, strict=True):
        try:
            table = read_published(store, file)
        except FileNotFoundError:
            problems.append(f"{file.name} is committed, but not there.")
            continue
        except ConservationError as error:
            problems.append(str(error))
            continue
        if not table.schema.equals(schema):
            problems.append(f"{file.name} has other columns than it should.")
        count[kind] = table.num_rows
        found.update(_keys(table))
    wanted = Counter(_keys(planned))
    count["missing"] = (wanted - found).total()
    count["duplicate"] = (found - wanted).total()
    return count


def _keys(table: pa.Table) -> list[tuple[str, str]]:
    return list(zip(table["image_id"].to_pylist(), table["uri"].to_pylist(), strict=True))


def _hashes(planned: pa.Table) -> np.ndarray:
    """Return uint64 [n], one of each image id: 8 bytes in memory instead of the id."""
    digests = (blake2b(name.encode(), digest_size=8) for name in planned["image_id"].to_pylist())
    return np.frombuffer(b"".join(each.digest() for each in digests), np.uint64)


def _repeated_ids(store: Store, hashes: list[np.ndarray]) -> list[str]:
    """Name image ids that stand in the plan more than once: one of them would be another's row."""
    values, counts = np.unique(
        np.concatenate([*hashes, np.zeros(0, np.uint64)]), return_counts=True
    )
    suspect = values[counts > 1]
    found: Counter[str] = Counter()
    for shard, some in enumerate(hashes):
        if np.isin(some, suspect).any():
            found.update(read_plan_shard(store, shard)["image_id"].to_pylist())
    return [f"{name!r} is planned {times} times." for name, times in found.items() if times > 1]


def _strays(store: Store, plan: PlanSummary) -> list[str]:
    """Name files that a reader of the folder would take for part of the run."""
    known = {f"{shard_name(shard)}.parquet" for shard in range(plan.shards)}
    return [
        f"{key} is no file of this run; whoever reads the folder takes it for rows."
        for folder in ("tags", "quarantine")
        for key in store.list(folder)
        if key.removeprefix(f"{folder}/") not in known
    ]

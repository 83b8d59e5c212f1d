"""What has become of a source since its plan was written: a plan is fixed, so it has to be told."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from ram_ray.errors import UnreachableError
from ram_ray.runs.opening import Run
from ram_ray.runs.plans import PlanSummary, read_plan_shard
from ram_ray.storage.listing import list_images
from ram_ray.storage.sources import NameFilter, PassedOver, SourceObject
from ram_ray.storage.stores import first_line
from ram_ray.tagging.config import TagConfig

MAX_COMPARED = 1_000_000
"""Larger plans are not compared: listing them again takes minutes, and money in a bucket."""
BATCH = 10_000
"""Listed objects that are looked up together."""


@dataclass(frozen=True, slots=True)
class SourceChanges:
    """Numbers of images."""

    new: int
    """Listed now, but not planned."""
    gone: int
    """Planned, but not listed any more."""
    changed: int
    """Of another size, or another tag of the store, than when they were planned."""


def change_notes(run: Run[PlanSummary], config: TagConfig) -> tuple[str, ...]:
    """Return what a user should hear of the source of a run that was planned before."""
    if not run.planned_before:
        return ()
    kept = "the plan stays as it is"
    if run.plan.rows > MAX_COMPARED:
        limit = f"{MAX_COMPARED:,}"
        return (f"The source was not listed again (more than {limit} images): {kept}.",)
    try:
        found = compare_source(run, config)
    except (UnreachableError, FileNotFoundError, pa.ArrowInvalid) as error:
        return (f"Whether the source has changed is not known: {first_line(error)}.",)
    told = (
        (found.new, "new and not in the plan", "tag into another output to have all"),
        (found.gone, "in the plan, but gone", kept),
        (found.changed, "in the plan, but changed since", kept),
    )
    return tuple(
        f"Images in {config.source} that are {what}: {count:,}; {advice}."
        for count, what, advice in told
        if count
    )


def compare_source(run: Run[PlanSummary], config: TagConfig) -> SourceChanges:
    """List the source again and compare it with the plan; 16 bytes of memory per planned image.

    Raises:
        UnreachableError: the source cannot be listed.
    """
    ids = np.empty(run.plan.rows, dtype=np.uint64)
    facts = np.empty(run.plan.rows, dtype=np.uint64)
    at = 0
    for shard in range(run.plan.shards):
        for row in read_plan_shard(run.store, shard).to_pylist():
            ids[at] = _hash(row["image_id"])
            facts[at] = _hash(f"{row['size_bytes']} {row['etag']}")
            at += 1
    order = np.argsort(ids, kind="stable")
    ids, facts = ids[order], facts[order]
    new = found = changed = 0
    for listed in _batches(config):
        there = np.fromiter((_hash(one.image_id) for one in listed), np.uint64, len(listed))
        now = np.fromiter(
            (_hash(f"{one.size_bytes} {one.etag}") for one in listed), np.uint64, len(listed)
        )
        places = np.searchsorted(ids, there).clip(max=len(ids) - 1)
        known = ids[places] == there
        found += int(known.sum())
        new += int((~known).sum())
        changed += int((facts[places] != now)[known].sum())
    return SourceChanges(new, len(ids) - found, changed)


def _batches(config: TagConfig) -> Iterator[list[SourceObject]]:
    names = NameFilter(config.include, config.exclude, config.decode.formats)
    pending: list[SourceObject] = []
    for listed in list_images(config.source, config.store, names, PassedOver(), config):
        if names.takes(listed):
            pending.append(listed)
        if len(pending) == BATCH:
            yield pending
            pending = []
    if pending:
        yield pending


def _hash(text: str) -> int:
    return int.from_bytes(
        hashlib.blake2b(text.encode(errors="surrogatepass"), digest_size=8).digest()
    )

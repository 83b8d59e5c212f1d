"""Publish a shard exactly once.

Every attempt writes its files under a staging name of its own; one create-if-absent of
`commits/shard-N.json` decides which attempt counts; its files are then moved to their final
names, which anybody may finish from the commit. With final names written directly, a late
attempt could overwrite published tags, or pair its tags with another attempt's quarantine.

A retry of quarantined images (`ram_ray.tagging.retrying.pipeline`) replaces the files of a shard
by a commit of its own, `retries/000001/commits/shard-N.json`; the latest retry's counts.
"""

import hashlib
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from itertools import islice
from types import MappingProxyType
from typing import TypeVar

import pyarrow as pa

from ram_ray.runs.plan_files import plan_place
from ram_ray.runs.plans import shard_name, to_parquet
from ram_ray.storage.parquet import table_of
from ram_ray.storage.stores import Store, is_dead_probe

_COMMIT_KEY = re.compile(r"commits/shard-(\d{6,})\.json")
_RETRY_COMMIT_KEY = re.compile(r"retries/(\d{6})/commits/shard-(\d{6,})\.json")

Item = TypeVar("Item")

_NONE: Mapping[str, int] = MappingProxyType({})

READERS = 16
"""Commits read at a time: a run of a billion images has 100,000 of them."""


class ConservationError(Exception):
    """A shard's rows are not exactly its plan's rows: a defect, never committed."""


@dataclass(frozen=True, slots=True)
class StagedFile:
    """One file of a shard: where it lies until published, and what it must contain."""

    name: str
    staged: str
    size_bytes: int
    sha256: str
    rows: int


@dataclass(frozen=True, slots=True)
class Commit:
    """The record that a shard is done; written once."""

    shard: int
    attempt: str
    rows: int
    tagged: int
    quarantined: int
    quarantined_by_code: dict[str, int]
    committed_at: str
    files: tuple[StagedFile, ...]
    remarks: dict[str, int] = field(default_factory=dict)
    """What was repaired in images that are tagged, or lost of them; 0.1.0 did not count it."""
    plan_sha256: str | None = None
    """The plan that its rows are of (`plan_files.PlanPlace`); None: of 0.1.0."""

    def to_json(self) -> bytes:
        """Return the commit as it is stored."""
        return json.dumps(asdict(self), indent=1).encode()

    def file(self, folder: str) -> StagedFile:
        """Return the shard's file in `folder`, such as `tags`."""
        return next(file for file in self.files if file.name.startswith(f"{folder}/"))

    @classmethod
    def from_json(cls, data: bytes) -> "Commit":
        """Read a stored commit."""
        fields = json.loads(data)
        files = tuple(StagedFile(**file) for file in fields.pop("files"))
        return cls(files=files, **fields)


def commit_shard(
    store: Store,
    shard: int,
    plan: pa.Table,
    tags: pa.Table,
    quarantine: pa.Table,
    *,
    remarks: Mapping[str, int] = _NONE,
) -> Commit:
    """Check conservation, stage both files, commit, publish; return the commit that counts.

    That commit is another attempt's when one was there first: this attempt's files are dropped.

    Args:
        remarks: how many of the tagged images have each remark.

    Raises:
        ConservationError: a planned image is missing, doubled or foreign; nothing is written.
    """
    check_conservation(shard, plan, tags, quarantine)
    codes = Counter(quarantine["error_code"].to_pylist())
    return commit_tables(
        store,
        shard,
        {"tags": tags, "quarantine": quarantine},
        tagged=plan.num_rows - quarantine.num_rows,
        quarantined_by_code=codes,
        remarks=remarks,
    )


def commit_tables(
    store: Store,
    shard: int,
    tables: Mapping[str, pa.Table],
    *,
    tagged: int,
    quarantined_by_code: Mapping[str, int],
    remarks: Mapping[str, int] = _NONE,
    retry: int = 0,
) -> Commit:
    """Stage a shard's files, one per folder, commit, publish; return the commit that counts.

    That commit is another attempt's when one was there first: this attempt's files are dropped.

    Args:
        retry: number of the retry whose files replace those that are published; 0: none.
    """
    attempt = uuid.uuid4().hex
    staging = f"{_root(retry)}staging/{shard_name(shard)}/{attempt}"
    files = tuple(_stage(store, shard, staging, folder, table) for folder, table in tables.items())
    quarantined = sum(quarantined_by_code.values())
    commit = Commit(
        shard=shard,
        attempt=attempt,
        rows=tagged + quarantined,
        tagged=tagged,
        quarantined=quarantined,
        quarantined_by_code=dict(quarantined_by_code),
        committed_at=datetime.now(UTC).isoformat(timespec="seconds"),
        files=files,
        remarks=dict(remarks),
        plan_sha256=plan_place(store).sha256,
    )
    if not store.create(commit_key(shard, retry), commit.to_json()):
        for file in files:
            store.discard(file.staged)
        return read_commit(store, shard, retry)
    publish(store, commit)
    return commit


def publish(store: Store, commit: Commit) -> None:
    """Move a commit's files to their final names; safe to repeat, and by several at once."""
    for file in commit.files:
        try:
            store.move(file.staged, file.name)
        except FileNotFoundError:
            # Somebody has published it already; otherwise the run is broken.
            if not store.exists(file.name):
                raise


def finish_publishing(store: Store, committed: set[int]) -> int:
    """Publish what was committed but not yet published; return how many shards that were.

    Staging of other attempts at these shards is removed: their commit can only fail. Staging of
    uncommitted shards stays, for its owner may be a driver thought dead that is about to commit.
    """
    staged: dict[int, list[str]] = {}
    for key in store.list("staging"):
        parts = key.split("/")
        if len(parts) == 4 and parts[1].startswith("shard-"):
            staged.setdefault(int(parts[1].removeprefix("shard-")), []).append(key)
        elif is_dead_probe(key):
            store.discard(key)
    published = 0
    done = staged.keys() & committed
    retries = retried_shards(store) if done else {}
    for shard in done:
        commit = read_commit(store, shard)
        left = any(file.staged in staged[shard] for file in commit.files)
        if left and shard not in retries:  # a retry's files have taken the place of these
            publish(store, commit)
            published += 1
        for key in staged[shard]:
            store.discard(key)
    store.remove_empty_folders("staging")
    return published


def read_commit(store: Store, shard: int, retry: int = 0) -> Commit:
    """Return a shard's commit, the first or that of a retry; FileNotFoundError without one."""
    return Commit.from_json(store.read(commit_key(shard, retry)))


def read_commits(
    store: Store, shards: Iterable[int], *, before: int | None = None
) -> Iterator[Commit]:
    """Yield the commits that count, of shards that have one, in order, reading many at a time.

    Args:
        before: number of a retry; its own commits and later ones are left out.
    """
    retries = retried_shards(store, before=before)
    with ThreadPoolExecutor(READERS) as readers:
        for some in iter_batches(shards, 64 * READERS):
            yield from readers.map(
                lambda shard: read_commit(store, shard, retries.get(shard, 0)), some
            )


def iter_batches(items: Iterable[Item], size: int) -> Iterator[tuple[Item, ...]]:
    """Cut into tuples of at most `size`."""
    rest = iter(items)
    while some := tuple(islice(rest, size)):
        yield some


def committed_shards(store: Store) -> set[int]:
    """Return the shards that have a commit, from one listing."""
    found = (_COMMIT_KEY.fullmatch(key) for key in store.list("commits"))
    return {int(match[1]) for match in found if match}


def retried_shards(store: Store, *, before: int | None = None) -> dict[int, int]:
    """Return the latest retry (before `before`) that has a commit of a shard, by shard."""
    latest: dict[int, int] = {}
    for key in store.list("retries"):
        if match := _RETRY_COMMIT_KEY.fullmatch(key):
            retry, shard = int(match[1]), int(match[2])
            if before is None or retry < before:
                latest[shard] = max(retry, latest.get(shard, 0))
    return latest


def commit_key(shard: int, retry: int = 0) -> str:
    """Return where a shard's commit lies, the first or that of a retry."""
    return f"{_root(retry)}commits/{shard_name(shard)}.json"


def _root(retry: int) -> str:
    return f"retries/{retry:06d}/" if retry else ""


def check_conservation(shard: int, plan: pa.Table, tags: pa.Table, quarantine: pa.Table) -> None:
    """Check that tagged + quarantined rows are exactly the planned ones, each once.

    Raises:
        ConservationError: they are not.
    """
    planned = Counter(zip(plan["image_id"].to_pylist(), plan["uri"].to_pylist(), strict=True))
    found = Counter(
        pair
        for table in (tags, quarantine)
        for pair in zip(table["image_id"].to_pylist(), table["uri"].to_pylist(), strict=True)
    )
    if planned != found:
        missing, foreign = (planned - found).total(), (found - planned).total()
        raise ConservationError(
            f"Shard {shard}: {missing} planned images are missing and {foreign} rows are "
            "doubled or foreign; not committed."
        )


def _stage(store: Store, shard: int, staging: str, folder: str, table: pa.Table) -> StagedFile:
    data = to_parquet(table)
    staged = f"{staging}/{folder}.parquet"
    store.write(staged, data)
    return StagedFile(
        name=f"{folder}/{shard_name(shard)}.parquet",
        staged=staged,
        size_bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        rows=table.num_rows,
    )


def read_published(store: Store, file: StagedFile) -> pa.Table:
    """Return a published file's rows, its bytes checked against the commit.

    Raises:
        FileNotFoundError: it is not there.
        ConservationError: its bytes are not those committed.
    """
    data = store.read(file.name)
    if hashlib.sha256(data).hexdigest() != file.sha256:
        raise ConservationError(f"{file.name} is not the file that was committed.")
    return table_of(data)

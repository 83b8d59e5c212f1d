"""Publish a shard exactly once.

Every attempt writes its files under a staging name of its own; one create-if-absent of
`commits/shard-N.json` decides which attempt counts; its files are then moved to their final
names, which anybody may finish from the commit. With final names written directly, a late
attempt could overwrite published tags, or pair its tags with another attempt's quarantine.
"""

import hashlib
import io
import json
import re
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from itertools import islice

import pyarrow as pa
import pyarrow.parquet as pq

from ram_ray.storage.plans import shard_name, to_parquet
from ram_ray.storage.stores import Store

_COMMIT_KEY = re.compile(r"commits/shard-(\d{6,})\.json")

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

    def to_json(self) -> bytes:
        """Return the commit as it is stored."""
        return json.dumps(asdict(self), indent=1).encode()

    @classmethod
    def from_json(cls, data: bytes) -> "Commit":
        """Read a stored commit."""
        fields = json.loads(data)
        files = tuple(StagedFile(**file) for file in fields.pop("files"))
        return cls(files=files, **fields)


def commit_shard(
    store: Store, shard: int, plan: pa.Table, tags: pa.Table, quarantine: pa.Table
) -> Commit:
    """Check conservation, stage both files, commit, publish; return the commit that counts.

    That commit is another attempt's when one was there first: this attempt's files are dropped.

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
    )


def commit_tables(
    store: Store,
    shard: int,
    tables: Mapping[str, pa.Table],
    *,
    tagged: int,
    quarantined_by_code: Mapping[str, int],
) -> Commit:
    """Stage a shard's files, one per folder, commit, publish; return the commit that counts.

    That commit is another attempt's when one was there first: this attempt's files are dropped.
    """
    attempt = uuid.uuid4().hex
    files = tuple(_stage(store, shard, attempt, folder, table) for folder, table in tables.items())
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
    )
    if not store.create(commit_key(shard), commit.to_json()):
        # Another attempt won, or a retried request met the object its own first try wrote.
        winner = read_commit(store, shard)
        if winner.attempt != attempt:
            for file in files:
                store.delete(file.staged)
            return winner
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
    published = 0
    for shard in staged.keys() & committed:
        commit = read_commit(store, shard)
        if any(file.staged in staged[shard] for file in commit.files):
            publish(store, commit)
            published += 1
        for key in staged[shard]:
            store.delete(key)
    store.remove_empty_folders("staging")
    return published


def read_commit(store: Store, shard: int) -> Commit:
    """Return a shard's commit; FileNotFoundError when it has none."""
    return Commit.from_json(store.read(commit_key(shard)))


def read_commits(store: Store, shards: Iterable[int]) -> Iterator[Commit]:
    """Yield the commits of shards that have one, in order, reading many at a time."""
    with ThreadPoolExecutor(READERS) as readers:
        for some in iter_batches(shards, 64 * READERS):
            yield from readers.map(lambda shard: read_commit(store, shard), some)


def iter_batches(shards: Iterable[int], size: int) -> Iterator[tuple[int, ...]]:
    """Cut into tuples of at most `size`."""
    rest = iter(shards)
    while some := tuple(islice(rest, size)):
        yield some


def committed_shards(store: Store) -> set[int]:
    """Return the shards that have a commit, from one listing."""
    found = (_COMMIT_KEY.fullmatch(key) for key in store.list("commits"))
    return {int(match[1]) for match in found if match}


def commit_key(shard: int) -> str:
    """Return where a shard's commit lies."""
    return f"commits/{shard_name(shard)}.json"


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


def _stage(store: Store, shard: int, attempt: str, folder: str, table: pa.Table) -> StagedFile:
    data = to_parquet(table)
    staged = f"staging/{shard_name(shard)}/{attempt}/{folder}.parquet"
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
    return pq.read_table(io.BytesIO(data))

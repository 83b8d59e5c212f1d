"""Assemble shards from tagged chunks and commit each once it is whole.

One `Committer` actor serves many shards. It answers `begin` so that nothing is computed twice,
keeps the first result of every chunk, and never waits for other chunks: a tagger that awaited a
whole shard would hold the very slot its other chunks need.
"""

import asyncio
import logging
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Protocol

import pyarrow as pa

from ram_ray.config import StoreConfig
from ram_ray.errors import DiskFullError, UnreachableError
from ram_ray.runs.commits import ConservationError
from ram_ray.runs.plans import read_plan_shard
from ram_ray.storage.stores import Store, open_store

ROW = pa.field("row", pa.int32(), nullable=False)
"""Plan row of a result; it orders a shard's files and is dropped when they are written."""

MAX_OPEN_COMMITS = 4
"""Commits in flight per committer; further `add`s wait, which slows the taggers down."""
BEGINS_BEFORE_ONE_BY_ONE = 2
"""A chunk begun this often without an end has killed a worker: its images run one by one."""
DEATHS_BEFORE_CONDEMNING = 2
"""An image alone at work when so many processes died is a model_error: one may be bad luck."""

_log = logging.getLogger(__name__)


class CommitRows(Protocol):
    """How a pipeline commits a shard; a function, or a small object, that travels to the actor."""

    def __call__(
        self, store: Store, shard: int, plan: pa.Table, rows: pa.Table, quarantine: pa.Table, /
    ) -> object:
        """Check the rows against the plan's and commit them.

        Args:
            store: the run's output.
            plan: PLAN rows of the shard.
            rows: of the images that went well, in plan order, without ROW.
            quarantine: of the others, likewise.

        Raises:
            ConservationError: a planned image is missing, doubled or foreign; nothing is written.
        """
        ...


@dataclass(frozen=True, slots=True)
class Begin:
    """How a tagger shall treat a chunk."""

    done: bool = False
    """The chunk has been added: compute nothing."""
    num_tagged: int = 0
    num_quarantined: int = 0
    one_by_one: bool = False
    met_before: bool = False
    """Somebody has asked for the chunk before and not ended it: its process may have died."""
    condemned: frozenset[int] = frozenset()
    """Positions in the chunk that killed workers when alone; what `look` says has none."""


@dataclass(slots=True)
class _ChunkState:
    looks: int = 0
    begins: int = 0
    at: int | None = None
    """Position of the image that is at work alone."""
    deaths: Counter[int] = field(default_factory=Counter)
    """Position to number of processes that died while that image was alone at work."""
    result: tuple[pa.Table, pa.Table] | None = None


@dataclass(slots=True)
class ShardAssembly:
    """The chunks of one shard, as they come in; no I/O, no Ray."""

    num_chunks: int
    chunks: dict[int, _ChunkState] = field(default_factory=dict)
    num_tagged: int = 0
    num_quarantined: int = 0

    def look(self, chunk: int) -> Begin:
        """Say how a chunk will have to be run; asking ahead is no start and blames nobody."""
        state = self.chunks.setdefault(chunk, _ChunkState())
        if state.result is not None:
            tags, quarantine = state.result
            return Begin(True, tags.num_rows, quarantine.num_rows)
        state.looks += 1
        one_by_one = state.begins + 1 >= BEGINS_BEFORE_ONE_BY_ONE
        return Begin(one_by_one=one_by_one, met_before=state.looks > 1)

    def begin(self, chunk: int) -> Begin:
        """Count a start of a chunk and say how to run it (docs/how-it-works.md, A.5).

        Only a `begin` that meets an unfinished one counts: a plain attempt counter would condemn
        innocent chunks, since Ray re-runs everything a dead worker had finished too.
        """
        state = self.chunks.setdefault(chunk, _ChunkState())
        if state.result is not None:
            return self.look(chunk)
        state.begins += 1
        if state.at is not None:
            state.deaths[state.at] += 1
            state.at = None
        condemned = {
            at for at, deaths in state.deaths.items() if deaths >= DEATHS_BEFORE_CONDEMNING
        }
        one_by_one = state.begins >= BEGINS_BEFORE_ONE_BY_ONE
        return Begin(one_by_one=one_by_one, condemned=frozenset(condemned))

    def at(self, chunk: int, position: int) -> None:
        """Note which image is being tagged alone."""
        self.chunks.setdefault(chunk, _ChunkState()).at = position

    def add(self, chunk: int, tags: pa.Table, quarantine: pa.Table) -> bool:
        """Keep the first result of a chunk; True when this one makes the shard whole."""
        state = self.chunks.setdefault(chunk, _ChunkState())
        if state.result is not None:
            return False
        state.result = (tags, quarantine)
        self.num_tagged += tags.num_rows
        self.num_quarantined += quarantine.num_rows
        finished = sum(other.result is not None for other in self.chunks.values())
        return finished == self.num_chunks

    def tables(self) -> tuple[pa.Table, pa.Table]:
        """Return (rows, quarantine) of the whole shard in plan order, ROW dropped."""
        results = [state.result for state in self.chunks.values() if state.result is not None]
        rows, quarantine = (
            pa.concat_tables([part[side] for part in results])
            .sort_by(ROW.name)
            .drop_columns(ROW.name)
            for side in (0, 1)
        )
        return rows, quarantine


@dataclass(frozen=True, slots=True)
class CommitterProgress:
    """How far a committer is: its committed shards and, while it works, the chunks of open ones.

    The driver asks for this instead of reading what the pipeline puts out: rows that it reads stay
    mapped in its memory, page by page of the object store.
    """

    num_images: int = 0
    num_quarantined: int = 0
    num_committed: int = 0
    """Shards."""
    taggers: frozenset[tuple[str, str]] = frozenset()
    """Device and GPU ids of each tagger that has reported to this committer."""


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What a committer did since it started."""

    committed: tuple[int, ...]
    failures: tuple[str, ...]
    """One sentence for each shard that could not be committed; the next round redoes it."""
    progress: CommitterProgress
    disk_full: DiskFullError | None = None
    """No further round would end otherwise."""


class Committer:
    """The actor: owns a share of the shards, commits off the path of `add`."""

    def __init__(self, output: str, store: StoreConfig, commit_rows: CommitRows) -> None:
        self._store: Store = open_store(output, store)
        self._commit_rows = commit_rows
        self._open: dict[int, ShardAssembly] = {}
        self._committed: set[int] = set()
        self._num_images = self._num_quarantined = 0  # of committed shards
        self._taggers: set[tuple[str, str]] = set()
        self._failures: list[str] = []
        self._disk_full: DiskFullError | None = None
        self._slots = asyncio.Semaphore(MAX_OPEN_COMMITS)
        self._commits: set[asyncio.Task[None]] = set()

    async def look(self, shard: int, chunk: int, num_chunks: int) -> Begin:
        """See `ShardAssembly.look`; a shard that is committed, or on its way, is done.

        Raises:
            DiskFullError: a commit has met a full disk; what is computed could not be written.
        """
        if self._disk_full is not None:
            raise self._disk_full
        if shard in self._committed:
            return Begin(done=True)
        return self._assembly(shard, num_chunks).look(chunk)

    async def begin(self, shard: int, chunk: int, num_chunks: int) -> Begin:
        """See `ShardAssembly.begin`; otherwise as `look`."""
        if self._disk_full is not None:
            raise self._disk_full
        if shard in self._committed:
            return Begin(done=True)
        return self._assembly(shard, num_chunks).begin(chunk)

    async def at(self, shard: int, chunk: int, position: int) -> None:
        """See `ShardAssembly.at`."""
        if shard in self._open:
            self._open[shard].at(chunk, position)

    async def add(
        self, shard: int, chunk: int, num_chunks: int, tags: pa.Table, quarantine: pa.Table
    ) -> None:
        """Keep a chunk's rows; start the commit of a whole shard.

        Args:
            tags: the pipeline's columns and ROW, the same in all chunks of a run.
            quarantine: likewise.
        """
        if shard in self._committed:
            return
        if self._assembly(shard, num_chunks).add(chunk, tags, quarantine):
            await self._slots.acquire()
            task = asyncio.create_task(self._commit(shard))
            self._commits.add(task)
            task.add_done_callback(self._commits.discard)

    async def note_tagger(self, device: str, gpu_ids: str) -> None:
        """Note where a tagger runs, for the driver to know."""
        self._taggers.add((device, gpu_ids))

    async def progress(self) -> CommitterProgress:
        """Return how far this committer is, the chunks of open shards included."""
        return self._count(self._open.values())

    async def drain(self) -> DrainReport:
        """Wait for the commits under way and report; shards that are not whole do not count."""
        while self._commits:
            await asyncio.gather(*self._commits)
        committed = tuple(sorted(self._committed))
        return DrainReport(committed, tuple(self._failures), self._count(()), self._disk_full)

    def _count(self, open_shards: Iterable[ShardAssembly]) -> CommitterProgress:
        open_shards = tuple(open_shards)
        tagged = sum(shard.num_tagged for shard in open_shards)
        quarantined = sum(shard.num_quarantined for shard in open_shards)
        return CommitterProgress(
            num_images=self._num_images + tagged + quarantined,
            num_quarantined=self._num_quarantined + quarantined,
            num_committed=len(self._committed),
            taggers=frozenset(self._taggers),
        )

    def _assembly(self, shard: int, num_chunks: int) -> ShardAssembly:
        return self._open.setdefault(shard, ShardAssembly(num_chunks))

    async def _commit(self, shard: int) -> None:
        tags, quarantine = self._open[shard].tables()
        try:
            await asyncio.to_thread(self._write, shard, tags, quarantine)
            self._committed.add(shard)
            self._num_images += tags.num_rows + quarantine.num_rows
            self._num_quarantined += quarantine.num_rows
        except DiskFullError as error:
            self._disk_full = error
        except (ConservationError, UnreachableError, FileNotFoundError) as error:
            _log.error("Shard %d is not committed: %s", shard, error)
            self._failures.append(str(error))
        finally:
            del self._open[shard]
            self._slots.release()

    def _write(self, shard: int, tags: pa.Table, quarantine: pa.Table) -> None:
        plan = read_plan_shard(self._store, shard)
        self._commit_rows(self._store, shard, plan, tags, quarantine)

"""How far a tagging job is, from the files of its run."""

import threading
from collections import OrderedDict
from dataclasses import dataclass, field

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.runs.commits import committed_shards, read_commits
from ram_ray.runs.plans import read_plan
from ram_ray.storage.stores import open_store

MOST_REMEMBERED = 200
"""Runs whose counts are kept, so that each commit is read once."""


@dataclass(frozen=True, slots=True)
class Progress:
    """Images of a run; `planned` is None until its source is listed."""

    planned: int | None = None
    tagged: int = 0
    quarantined: int = 0


@dataclass(slots=True)
class _Counts:
    planned: int | None = None
    shards: set[int] = field(default_factory=set)
    tagged: int = 0
    quarantined: int = 0


class ProgressReader:
    """Reads plans and commits; thread-safe. What a commit says never changes."""

    def __init__(self, store: StoreConfig) -> None:
        self._store = store
        self._runs: OrderedDict[str, _Counts] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, output: str) -> Progress:
        """Return how far the run in `output` is; nothing yet where it cannot be read."""
        with self._lock:
            counts = self._runs.setdefault(output, _Counts())
            self._runs.move_to_end(output)
            while len(self._runs) > MOST_REMEMBERED:
                self._runs.popitem(last=False)
            try:
                self._update(output, counts)
            except UnreachableError:
                pass  # a run that has written nothing yet; its job says why if it never does
            return Progress(counts.planned, counts.tagged, counts.quarantined)

    def _update(self, output: str, counts: _Counts) -> None:
        if counts.planned is not None and counts.tagged + counts.quarantined == counts.planned:
            return
        store = open_store(output, self._store)
        plan = read_plan(store)
        if plan is None:
            return
        counts.planned = plan.rows
        new = committed_shards(store) - counts.shards
        for commit in read_commits(store, sorted(new)):
            counts.shards.add(commit.shard)
            counts.tagged += commit.tagged
            counts.quarantined += commit.quarantined

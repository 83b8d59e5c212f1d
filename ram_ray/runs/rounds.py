"""Rounds over the shards that are not committed, wave by wave, until every one is.

A wave is one Ray Data execution. What fails in it, whatever the reason, is left for the next
round, which starts from the commits.
"""

import gc
from collections.abc import Callable, Iterator

from ram_ray.errors import IncompleteRunError
from ram_ray.runs.commits import committed_shards, finish_publishing, iter_batches
from ram_ray.runs.leases import Lease
from ram_ray.runs.waves import Wave
from ram_ray.storage.stores import Store

WAVE_SHARDS = 2_000
"""Most shards per Ray Data execution: what the driver keeps of each until its end
(docs/how-it-works.md)."""


def _nobody(_: object) -> None:
    return None


class Shards:
    """The shards of a plan and of one store: which are committed, and waves over the others."""

    def __init__(
        self,
        store: Store,
        count: int,
        lease: Lease,
        *,
        max_rounds: int,
        what: str = "",
        on_done: Callable[[int], None] = _nobody,
    ) -> None:
        """Take a store's shards, 0 to `count` - 1.

        Args:
            max_rounds: passes over uncommitted shards before giving up.
            what: said before the number of shards that are left, such as a step's name.
            on_done: told the number of shards that are done.
        """
        self.store = store
        self.count = count
        self.before = committed_shards(store)
        """Shards that were committed before this call."""
        self._lease = lease
        self._max_rounds = max_rounds
        self._what = f"{what}: " if what else ""
        self._on_done = on_done
        self._reasons: list[str] = []

    @property
    def all_done(self) -> bool:
        """Tell whether this call has nothing to do."""
        return len(self.before) >= self.count

    def waves(
        self, size: int = WAVE_SHARDS, *, on_round: Callable[[set[int]], None] = _nobody
    ) -> Iterator[Wave]:
        """Yield waves of at most `size` shards until all are committed or the rounds are over.

        Args:
            on_round: told which shards are committed, at the start of each round.

        Raises:
            LeaseHeldError: another driver has taken over.
        """
        for _ in range(self._max_rounds):
            committed = committed_shards(self.store)
            on_round(committed)
            self._on_done(len(committed))
            if len(committed) == self.count:
                return
            tried = len(committed)
            pending = (shard for shard in range(self.count) if shard not in committed)
            for some in iter_batches(pending, size):
                self._lease.keep()

                def done(count: int, tried: int = tried) -> None:
                    self._on_done(tried + count)

                yield Wave(some, self._lease, self._reasons, done)
                tried += len(some)
                gc.collect()  # an execution of Ray Data is a cycle of objects: free it
            finish_publishing(self.store, committed_shards(self.store))

    def finish(self) -> None:
        """Publish every shard that is committed.

        Raises:
            IncompleteRunError: some are not.
        """
        committed = committed_shards(self.store)
        finish_publishing(self.store, committed)
        left = sorted(set(range(self.count)) - committed)
        if left:
            shown = ", ".join(map(str, left[:10])) + (", ..." if len(left) > 10 else "")
            why = f" Last reason: {self._reasons[-1]}" if self._reasons else ""
            raise IncompleteRunError(
                f"{self._what}{len(left)} of {self.count} shards are not committed ({shown}); what "
                f"is committed stays, run the same command again to resume.{why}"
            )
        self._on_done(self.count)

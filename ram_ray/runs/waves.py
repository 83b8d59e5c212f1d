"""One wave: some shards, one execution of Ray Data, and what failed in it."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from typing import Any

from ram_ray.config import StoreConfig
from ram_ray.errors import DiskFullError
from ram_ray.runs.committer import CommitRows, Committer, CommitterProgress, DrainReport
from ram_ray.runs.leases import Lease
from ram_ray.runs.ray_data import cause, innermost

_log = logging.getLogger(__name__)


class Committers:
    """The committers of a wave; each holds only the shards that are open."""

    def __init__(
        self, count: int, output: str, store: StoreConfig, commit_rows: CommitRows
    ) -> None:
        import ray

        make = ray.remote(Committer).options(num_cpus=0, max_restarts=0, max_concurrency=1_000)
        self.actors: list[Any] = [make.remote(output, store, commit_rows) for _ in range(count)]
        self.counts: list[CommitterProgress] = []
        """What each has done, once the wave is over."""
        self.disk_full: DiskFullError | None = None
        """What one of them met, once the wave is over."""

    def progress(self) -> list[CommitterProgress]:
        """Ask each how far it is."""
        import ray
        from ray.exceptions import RayActorError

        counts: list[CommitterProgress] = []
        for asked in [actor.progress.remote() for actor in self.actors]:
            # One that died counts nothing: its open shards are redone in the next round.
            with suppress(RayActorError):
                counts.append(ray.get(asked))
        return counts

    def drain(self) -> list[str]:
        """Wait for the commits under way, end the committers; return what failed.

        A full disk is kept in `disk_full`.
        """
        import ray
        from ray.exceptions import RayError

        failures: list[str] = []
        for actor in self.actors:
            try:
                drained: DrainReport = ray.get(actor.drain.remote())
            except RayError as error:
                failures.append(f"a committer died ({cause(error)})")
                continue
            failures.extend(drained.failures)
            self.disk_full = self.disk_full or drained.disk_full
            self.counts.append(drained.progress)
            ray.kill(actor)
        return failures


class Wave:
    """Some shards that are run together. What fails is left for the next round."""

    def __init__(
        self,
        shards: tuple[int, ...],
        lease: Lease,
        reasons: list[str],
        on_done: Callable[[int], None],
    ) -> None:
        self.shards = shards
        self._lease = lease
        self._reasons = reasons
        self._on_done = on_done

    @contextmanager
    def attempt(self) -> Iterator[None]:
        """Let errors of Ray end the wave, not the run.

        Raises:
            DiskFullError: what a worker met; no further round would end otherwise.
        """
        from ray.exceptions import RayError

        try:
            yield
        except RayError as error:
            if isinstance(inner := innermost(error), DiskFullError):
                raise inner from error
            # Ray has retried what can be retried; the next round starts from the commits.
            self._reasons.append(cause(error))
            count = len(self.shards)
            _log.warning("A pass over %d shards ended early: %s", count, self._reasons[-1])

    @contextmanager
    def committers(
        self, count: int, output: str, store: StoreConfig, commit_rows: CommitRows
    ) -> Iterator[Committers]:
        """Attempt the wave with committers; they end with it, their commits under way let through.

        Args:
            count: at most; not more than shards.

        Raises:
            DiskFullError: the output's disk is full.
        """
        committers = Committers(min(count, len(self.shards)), output, store, commit_rows)
        try:
            with self.attempt():
                yield committers
        finally:
            # After a lost lease or Ctrl-C, too.
            self._reasons.extend(committers.drain())
        if committers.disk_full is not None:
            raise committers.disk_full

    def keeping(self, results: Iterator[Any]) -> Iterator[Any]:
        """Yield what an execution gives, as long as the lease is held.

        Raises:
            LeaseHeldError: another driver has taken over.
        """
        for result in results:
            self._lease.keep()
            yield result

    def done(self, count: int) -> None:
        """Tell that `count` of the wave's shards are done so far."""
        self._on_done(count)

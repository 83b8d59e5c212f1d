"""From summary rows to `Progress`: counts of one call of `tag_bucket`."""

import time
from collections.abc import Callable
from typing import Any

from ram_ray.progress import Progress
from ram_ray.storage.plans import PlanSummary

COMMIT_POLL_S = 2.0
"""Between two questions to the committers."""

OnProgress = Callable[[Progress], None]


class RunProgress:
    """Turns summary rows into `Progress`; counts every chunk once, however often it is reported."""

    def __init__(self, on_progress: OnProgress | None, started: float) -> None:
        self._tell = on_progress or (lambda _: None)
        self._started = started
        self._total: int | None = None
        self._shards_total: int | None = None
        self._done = self._quarantined = self._committed = self._in_wave = 0
        self._ask_again = 0.0
        self._open: dict[int, set[int]] = {}
        self._whole: set[int] = set()

    def listed(self, rows: int) -> None:
        """Take the number of images planned so far."""
        self._done = rows
        self._say("listing")

    def start(self, plan: PlanSummary, rows_done: int, shards_done: int) -> None:
        """Take what there is to do, and what earlier calls have committed of it."""
        self._total, self._shards_total = plan.rows, plan.shards
        self._done, self._committed = rows_done, shards_done
        self._say("tagging")

    def chunk(self, row: dict[str, Any]) -> None:
        """Take one summary row of `workers.TagImages`."""
        shard, chunk = row["shard"], row["chunk"]
        seen = self._open.setdefault(shard, set())
        if shard in self._whole or chunk in seen:
            return
        seen.add(chunk)
        self._done += row["images"]
        self._quarantined += row["quarantined"]
        if len(seen) == row["num_chunks"]:
            self._whole.add(shard)
            del self._open[shard]
        self._say("tagging")

    def wants_commits(self) -> bool:
        """Tell whether it is time to ask the committers again."""
        return time.monotonic() >= self._ask_again

    def commits(self, per_committer: list[int]) -> None:
        """Take the counts of the wave under way."""
        self._in_wave = sum(per_committer)
        self._ask_again = time.monotonic() + COMMIT_POLL_S
        self._say("tagging")

    def wave_committed(self, per_committer: list[int]) -> None:
        """Take the final counts of a wave."""
        self._committed += sum(per_committer)
        self._in_wave = 0
        self._say("committing")

    def _say(self, phase: str) -> None:
        self._tell(
            Progress(
                phase=phase,
                images_done=self._done,
                images_total=self._total,
                quarantined=self._quarantined,
                shards_committed=self._committed + self._in_wave,
                shards_total=self._shards_total,
                elapsed_s=time.monotonic() - self._started,
            )
        )

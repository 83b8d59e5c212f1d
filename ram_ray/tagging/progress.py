"""From the committers' counts to `Progress`: how far one call of `tag_bucket` is."""

import time
from collections.abc import Callable, Collection, Iterable

from ram_ray.console.progress import Progress
from ram_ray.runs.committer import CommitterProgress
from ram_ray.runs.plans import PlanSummary

POLL_S = 0.5
"""Between two questions to the committers."""

OnProgress = Callable[[Progress], None]


class RunProgress:
    """Adds up what was committed before, the waves that are over, and the wave under way."""

    def __init__(self, on_progress: OnProgress | None, started: float) -> None:
        self._tell = on_progress or (lambda _: None)
        self._started = started
        self._plan: PlanSummary | None = None
        self._shard_rows = 0
        self._total: int | None = None
        self._shards_total: int | None = None
        self._images = self._quarantined = self._committed = 0
        self._wave = CommitterProgress()
        self._shown = 0
        self._ask_again = 0.0

    def listed(self, rows: int) -> None:
        """Take the number of images planned so far."""
        self._images = rows
        self._say("listing")

    def start(self, plan: PlanSummary, shard_rows: int, committed: Collection[int]) -> None:
        """Take what there is to do, and which shards earlier calls have committed."""
        self._plan, self._shard_rows = plan, shard_rows
        self._total, self._shards_total = plan.rows, plan.shards
        self._shown = 0
        self.round(committed)

    def round(self, committed: Collection[int]) -> None:
        """Take what is committed at the start of a round, by earlier calls and rounds."""
        assert self._plan is not None, "a round comes after the start"
        self._images = self._plan.rows_in(committed, self._shard_rows)
        self._committed = len(committed)
        self._say("tagging")

    def wants_counts(self) -> bool:
        """Tell whether it is time to ask the committers again."""
        return time.monotonic() >= self._ask_again

    def wave(self, counts: Iterable[CommitterProgress]) -> None:
        """Take the counts of the wave under way."""
        self._wave = _add_up(counts)
        self._ask_again = time.monotonic() + POLL_S
        self._say("tagging")

    def wave_over(self, counts: Iterable[CommitterProgress]) -> None:
        """Take the final counts of a wave: of its committed shards only."""
        final = _add_up(counts)
        self._images += final.num_images
        self._quarantined += final.num_quarantined
        self._committed += final.num_committed
        self._wave = CommitterProgress()
        self._say("committing")

    def _say(self, phase: str) -> None:
        # Images of a shard that has to be done again are not taken back from what was shown.
        self._shown = max(self._shown, self._images + self._wave.num_images)
        self._tell(
            Progress(
                phase=phase,
                images_done=self._shown,
                images_total=self._total,
                quarantined=self._quarantined + self._wave.num_quarantined,
                shards_committed=self._committed + self._wave.num_committed,
                shards_total=self._shards_total,
                elapsed_s=time.monotonic() - self._started,
            )
        )


def _add_up(counts: Iterable[CommitterProgress]) -> CommitterProgress:
    counts = tuple(counts)
    return CommitterProgress(
        num_images=sum(each.num_images for each in counts),
        num_quarantined=sum(each.num_quarantined for each in counts),
        num_committed=sum(each.num_committed for each in counts),
    )

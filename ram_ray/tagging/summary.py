"""What a finished run did, counted from its commits."""

import time
from collections import Counter
from collections.abc import Collection
from dataclasses import dataclass, field

from ram_ray.runs.commits import read_commits
from ram_ray.runs.opening import Run
from ram_ray.runs.plans import PlanSummary
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import ModelIdentity
from ram_ray.tagging.retrying.retries import retry_remarks


@dataclass(frozen=True, kw_only=True, slots=True)
class RunSummary:
    """What a finished run did; counts are of the whole output, not of this call alone."""

    num_images: int
    num_tagged: int
    num_quarantined: int
    num_skipped: int
    """Objects left out by name."""
    skipped_by_suffix: dict[str, int] = field(default_factory=dict)
    """Of those; empty where 0.1.0 wrote the plan."""
    passed_over: dict[str, int] = field(default_factory=dict)
    """What could not be listed or is no file, by reason."""
    passed_examples: dict[str, str] = field(default_factory=dict)
    """The first place of each reason."""
    remarks: dict[str, int] = field(default_factory=dict)
    """What was repaired in tagged images, or lost of them (`ram_ray.images.remarks.Remark`), and in
    how many."""
    num_shards: int
    quarantined_by_code: dict[str, int]
    wall_s: float
    images_per_s: float
    """Of this call: images it committed per second of its wall clock."""
    resumed: bool
    """Some shards were committed before this call."""
    model_id: str
    output: str
    notes: tuple[str, ...]

    @property
    def error_rate(self) -> float:
        """Share of images that are quarantined, 0..1."""
        return self.num_quarantined / max(1, self.num_images)


def summarize(
    run: Run[PlanSummary],
    before: Collection[int],
    config: TagConfig,
    model: ModelIdentity,
    started: float,
    notes: tuple[str, ...],
) -> RunSummary:
    """Count from the commits.

    Args:
        before: shards that earlier calls have committed.
        started: `time.monotonic()` at the start of this call.
    """
    plan = run.plan
    tagged = quarantined = 0
    codes: Counter[str] = Counter()
    remarks = retry_remarks(run.store)
    for commit in read_commits(run.store, range(plan.shards)):
        tagged += commit.tagged
        quarantined += commit.quarantined
        codes.update(commit.quarantined_by_code)
        remarks.update(commit.remarks)
    wall_s = time.monotonic() - started
    rows_now = plan.rows - plan.rows_in(before, config.shard_rows)
    return RunSummary(
        num_images=tagged + quarantined,
        num_tagged=tagged,
        num_quarantined=quarantined,
        num_skipped=plan.skipped,
        skipped_by_suffix=plan.skipped_by_suffix,
        passed_over=plan.passed_over,
        passed_examples=plan.passed_examples,
        remarks=dict(remarks.most_common()),
        num_shards=plan.shards,
        quarantined_by_code=dict(codes.most_common()),
        wall_s=round(wall_s, 3),
        images_per_s=round(rows_now / wall_s, 2),
        resumed=bool(before),
        model_id=model.model_id,
        output=run.store.url,
        notes=notes,
    )

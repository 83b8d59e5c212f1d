"""Try the quarantined images of a finished run again: collect -> tag -> merge -> summary.

    retry_quarantined(RetryConfig(output="tags-out", error=("fetch_timeout",)))

Each of them is tried once more and keeps exactly one row: tagged, or quarantined with the reason
of this time. A retry that was killed goes on when it is called again.
"""

import time
from collections import Counter
from dataclasses import dataclass, replace
from typing import Any

from ram_ray.cluster import place, ray_session
from ram_ray.errors import ConfigError
from ram_ray.runs.commits import (
    ConservationError,
    committed_shards,
    finish_publishing,
    read_commits,
)
from ram_ray.runs.leases import Lease, take_lease
from ram_ray.runs.plans import PlanSummary, read_plan, write_plan
from ram_ray.storage.sources import NameFilter
from ram_ray.storage.stores import Store, open_store
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import identify_with_threshold
from ram_ray.tagging.outputs.published_rows import read_committed_run
from ram_ray.tagging.progress import OnProgress, RunProgress
from ram_ray.tagging.record import RunRecord, check_same_model
from ram_ray.tagging.retrying.config import RetryConfig, decode_settings, run_settings
from ram_ray.tagging.retrying.merge import merge_retry
from ram_ray.tagging.retrying.retries import (
    Retry,
    begin_retry,
    finish_retry,
    num_wanted,
    quarantined_rows,
    source_object,
    unfinished_retry,
)
from ram_ray.tagging.rounds import rows_in, run_rounds


@dataclass(frozen=True, kw_only=True, slots=True)
class RetrySummary:
    """What a retry did."""

    num_retried: int
    num_tagged: int
    """Of those: tagged now."""
    num_quarantined: int
    """Of those: quarantined still, or again."""
    quarantined_by_code: dict[str, int]
    """Of those, by the error of this time."""
    output_tagged: int
    """In the whole output."""
    output_quarantined: int
    """In the whole output."""
    wall_s: float
    resumed: bool
    output: str
    notes: tuple[str, ...]

    @property
    def error_rate(self) -> float:
        """Share of the output's images that are quarantined, 0..1."""
        return self.output_quarantined / max(1, self.output_tagged + self.output_quarantined)


def retry_quarantined(
    config: RetryConfig, *, on_progress: OnProgress | None = None
) -> RetrySummary:
    """Try quarantined images of `config.output` again and put their new rows into it.

    Raises:
        ConfigError: no finished run, another model, an interrupted retry of other images, or files
            that are not those of the run; no row was changed.
        UnreachableError: output, model or cluster cannot be reached.
        LeaseHeldError: another driver works on this output.
        IncompleteRunError: some images were not tried in any round; run again to resume.
    """
    started = time.monotonic()
    store = open_store(config.output, config.store)
    record, shards = read_committed_run(store)
    if not count_images(store, config, record, shards):
        return _summarize(store, shards, None, None, started, resumed=False, notes=())
    settings = run_settings(record, config)
    notes = _check_model(record, settings)
    lease = take_lease(store)
    try:
        finish_publishing(store, set(range(shards)))
        retry, resumed = _open_retry(store, config, record, shards)
        run = open_store(f"{store.url.rstrip('/')}/{retry.folder}/run", config.store, create=True)
        settings = replace(settings, output=run.url)
        plan = _make_plan(store, run, retry, settings, shards, lease)
        notes += _tag(run, settings, record, plan, lease, RunProgress(on_progress, started))
        merge_retry(store, run, retry, shards=shards, run_shards=plan.shards, on_merged=lease.keep)
        summary = _summarize(store, shards, run, plan, started, resumed=resumed, notes=notes)
        finish_retry(store, retry, {"quarantined_by_code": summary.quarantined_by_code})
        return summary
    except (ConservationError, FileNotFoundError) as error:
        raise ConfigError(
            f"{config.output} is not as it was committed ({str(error).rstrip('.')}); "
            f"`ram-ray verify {config.output}` says what is wrong."
        ) from error
    finally:
        lease.release()


def count_images(store: Store, config: RetryConfig, record: RunRecord, shards: int) -> int:
    """Return how many images this call tries, or goes on with.

    Raises:
        ConfigError: an interrupted retry wants other images or has other limits.
    """
    begun = unfinished_retry(store)
    if begun is None:
        commits = read_commits(store, range(shards))
        return sum(num_wanted(commit, config.error_codes) for commit in commits)
    wanted = (config.error_codes, decode_settings(record, config))
    if (begun.error_codes, begun.decode) != wanted:
        raise ConfigError(
            f"{store.url} has an interrupted retry; finish it first: "
            f"`ram-ray retry {store.url}{_flags_of(begun, record)}`."
        )
    return begun.num_images


def _flags_of(retry: Retry, record: RunRecord) -> str:
    """Return the flags of the call that began a retry."""
    flags = [f" --error {code}" for code in retry.error_codes]
    limits = (item for item in retry.decode.items() if item not in record.decode.items())
    return "".join(flags + [f" --set decode.{name}={value}" for name, value in limits])


def _check_model(record: RunRecord, settings: TagConfig) -> tuple[str, ...]:
    """Load the model once; return notes about it.

    Raises:
        ConfigError: the run's model is not here, or is another one by now.
    """
    threshold: Any = record.threshold_option
    threshold = tuple(threshold) if isinstance(threshold, list) else threshold
    model = identify_with_threshold(settings, threshold)
    check_same_model(record, model)
    return model.notes


def _open_retry(
    store: Store, config: RetryConfig, record: RunRecord, shards: int
) -> tuple[Retry, bool]:
    """Return the retry of this call, and whether it was begun before."""
    count = count_images(store, config, record, shards)  # under the lease: what holds from now on
    begun = unfinished_retry(store)
    if begun is not None:
        return begun, True
    decode = decode_settings(record, config)
    return begin_retry(store, config.error_codes, decode, count), False


def _make_plan(
    store: Store, run: Store, retry: Retry, settings: TagConfig, shards: int, lease: Lease
) -> PlanSummary:
    """Return the plan of the retry's own run, written now unless it was before."""
    plan = read_plan(run)
    if plan is not None:
        return plan
    rows = quarantined_rows(store, retry, range(shards))
    return write_plan(
        run,
        map(source_object, rows),
        NameFilter(("*",), ()),
        shard_rows=settings.shard_rows,
        on_listed=lambda _: lease.keep(),
    )


def _tag(
    run: Store,
    settings: TagConfig,
    record: RunRecord,
    plan: PlanSummary,
    lease: Lease,
    report: RunProgress,
) -> tuple[str, ...]:
    """Tag the retry's own run as any other; return notes for the user."""
    already = committed_shards(run)
    report.start(plan)
    report.committed(rows_in(already, plan, settings.shard_rows), len(already))
    notes: tuple[str, ...] = ()
    if len(already) < plan.shards:
        with ray_session(settings.address):
            placement = place(settings)
            notes = placement.notes
            notes += run_rounds(run, settings, record, placement, plan, lease, report)
    finish_publishing(run, set(range(plan.shards)))
    return notes


def _summarize(
    store: Store,
    shards: int,
    run: Store | None,
    plan: PlanSummary | None,
    started: float,
    *,
    resumed: bool,
    notes: tuple[str, ...],
) -> RetrySummary:
    """Count from the commits of the output and of the retry's run, if there was anything to do."""
    tagged = quarantined = retried = 0
    for commit in read_commits(store, range(shards)):
        tagged, quarantined = tagged + commit.tagged, quarantined + commit.quarantined
    codes: Counter[str] = Counter()
    if run is not None and plan is not None:
        retried = plan.rows
        for commit in read_commits(run, range(plan.shards)):
            codes.update(commit.quarantined_by_code)
    return RetrySummary(
        num_retried=retried,
        num_tagged=retried - codes.total(),
        num_quarantined=codes.total(),
        quarantined_by_code=dict(codes.most_common()),
        output_tagged=tagged,
        output_quarantined=quarantined,
        wall_s=round(time.monotonic() - started, 3),
        resumed=resumed,
        output=store.url,
        notes=notes,
    )

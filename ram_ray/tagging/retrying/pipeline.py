"""Try the quarantined images of a finished run again: collect -> tag -> merge -> summary.

    retry_quarantined(RetryConfig(output="tags-out", error=("fetch_timeout",)))

Each of them is tried once more and keeps exactly one row: tagged, or quarantined with the reason
of this time. A retry that was killed goes on when it is called again.
"""

import time
from collections import Counter
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from ram_ray.cluster import place, ray_session
from ram_ray.errors import ConfigError
from ram_ray.runs.commits import ConservationError, finish_publishing, read_commits
from ram_ray.runs.fields import RETRY
from ram_ray.runs.leases import Lease
from ram_ray.runs.opening import Run, held_lease
from ram_ray.runs.plans import PlanSummary, read_plan, write_plan
from ram_ray.runs.record import difference
from ram_ray.storage.sources import NameFilter
from ram_ray.storage.stores import Store, open_store
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import ModelIdentity, identify_with_threshold
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
from ram_ray.tagging.rounds import tag_shards


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
    remarks: dict[str, int] = field(default_factory=dict)
    """Of those: what was repaired in images tagged now, or lost of them, and in how many."""
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
        return _summarize(store, shards, None, started, resumed=False, notes=())
    settings = run_settings(record, config)
    model = _load_model(record, settings)
    report = RunProgress(on_progress, started)
    try:
        with held_lease(store) as lease:
            finish_publishing(store, set(range(shards)))
            retry, resumed = _open_retry(store, config, record, shards)
            run = _open_own_run(store, retry, settings, shards, lease)
            notes = model.notes + _tag(run, replace(settings, output=run.url), model, report)
            count = run.plan.shards
            merge_retry(
                store, run.store, retry, shards=shards, run_shards=count, on_merged=lease.keep
            )
            summary = _summarize(store, shards, run, started, resumed=resumed, notes=notes)
            result = {"quarantined_by_code": summary.quarantined_by_code}
            finish_retry(store, retry, result | {"remarks": summary.remarks})
            return summary
    except (ConservationError, FileNotFoundError) as error:
        raise ConfigError(
            f"{config.output} is not as it was committed ({str(error).rstrip('.')}); "
            f"`ram-ray verify {config.output}` says what is wrong."
        ) from error


def count_images(store: Store, config: RetryConfig, record: RunRecord, shards: int) -> int:
    """Return how many images this call tries, or goes on with.

    Raises:
        ConfigError: an interrupted retry wants other images or has other limits.
    """
    begun = unfinished_retry(store)
    if begun is None:
        commits = read_commits(store, range(shards))
        return sum(num_wanted(commit, config.error_codes) for commit in commits)
    wanted = {"error_codes": config.error_codes, "decode": decode_settings(record, config)}
    if difference(asdict(begun), wanted, RETRY):
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


def _load_model(record: RunRecord, settings: TagConfig) -> ModelIdentity:
    """Load the model once and check that it is the run's.

    Raises:
        ConfigError: the run's model is not here, or is another one by now.
    """
    threshold: Any = record.threshold_option
    threshold = tuple(threshold) if isinstance(threshold, list) else threshold
    model = identify_with_threshold(settings, threshold)
    check_same_model(record, model)
    return model


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


def _open_own_run(
    store: Store, retry: Retry, settings: TagConfig, shards: int, lease: Lease
) -> Run[PlanSummary]:
    """Return the retry's own run, below the output and under its lease; planned unless it was.

    It has no record: it is made of the output's, and of retry.json.
    """
    url = f"{store.url.rstrip('/')}/{retry.folder}/run"
    own = open_store(url, settings.store, create=True)
    plan = read_plan(own)
    if plan is not None:
        return Run(own, lease, {}, plan, True)
    rows = quarantined_rows(store, retry, range(shards))
    plan = write_plan(
        own,
        map(source_object, rows),
        NameFilter(("*",), ()),
        shard_rows=settings.shard_rows,
        on_listed=lambda _: lease.keep(),
    )
    return Run(own, lease, {}, plan, False)


def _tag(
    run: Run[PlanSummary], settings: TagConfig, model: ModelIdentity, report: RunProgress
) -> tuple[str, ...]:
    """Tag the retry's own run as any other; return notes for the user."""
    notes: tuple[str, ...] = ()
    shards = run.shards(max_rounds=settings.max_rounds)
    report.start(run.plan, settings.shard_rows, shards.before)
    if not shards.all_done:
        with ray_session(settings.address):
            placement = place(settings)
            batch_size = settings.batch_size or placement.batch_size
            notes = placement.notes
            notes += tag_shards(shards, settings, model, placement, batch_size, report)
    shards.finish()
    return notes


def _summarize(
    store: Store,
    shards: int,
    run: Run[PlanSummary] | None,
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
    remarks: Counter[str] = Counter()
    if run is not None:
        retried = run.plan.rows
        for commit in read_commits(run.store, range(run.plan.shards)):
            codes.update(commit.quarantined_by_code)
            remarks.update(commit.remarks)
    return RetrySummary(
        num_retried=retried,
        num_tagged=retried - codes.total(),
        num_quarantined=codes.total(),
        quarantined_by_code=dict(codes.most_common()),
        remarks=dict(remarks.most_common()),
        output_tagged=tagged,
        output_quarantined=quarantined,
        wall_s=round(time.monotonic() - started, 3),
        resumed=resumed,
        output=store.url,
        notes=notes,
    )

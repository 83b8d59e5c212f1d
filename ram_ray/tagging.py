"""Tag a bucket: list -> plan -> fetch and decode -> tag -> commit -> summary.

    tag_bucket(TagConfig(source="s3://photos/2026", output="s3://photos-tags/2026"))

Every image ends as exactly one row, tagged or quarantined with a reason. A run that was killed
goes on where its commits end: call it again.
"""

import os
import time

from ram_ray.cluster import place, ray_session
from ram_ray.config import TagConfig
from ram_ray.errors import ConfigError
from ram_ray.run_progress import OnProgress, RunProgress
from ram_ray.run_record import (
    ModelIdentity,
    agree_on_record,
    check_record,
    identify_model,
    settle_batch_size,
)
from ram_ray.run_summary import RunSummary, summarize
from ram_ray.storage.commits import committed_shards, finish_publishing
from ram_ray.storage.leases import Lease, take_lease
from ram_ray.storage.plans import PlanSummary, read_plan, write_plan
from ram_ray.storage.sources import NameFilter, list_source
from ram_ray.storage.stores import Store, open_store, probe_create_if_absent, split_url
from ram_ray.tag_rounds import keep_lease, rows_in, run_rounds


def tag_bucket(config: TagConfig, *, on_progress: OnProgress | None = None) -> RunSummary:
    """Tag every image of `config.source` into `config.output`.

    Raises:
        ConfigError: a setting is wrong, or the output holds another run; nothing was written.
        UnreachableError: source, output, model or cluster cannot be reached.
        LeaseHeldError: another driver works on this output.
        IncompleteRunError: some shards failed in every round; run again to resume.
    """
    started = time.monotonic()
    model = identify_model(config)
    check_before_writing(config, model)
    store = open_store(config.output, config.store, create=True)
    probe_create_if_absent(store)
    lease = take_lease(store)
    try:
        record = agree_on_record(store, config, model)
        report = RunProgress(on_progress, started)
        plan, resumed = make_plan(store, config, lease, report)
        already = committed_shards(store)
        report.start(plan)
        report.committed(rows_in(already, plan, config.shard_rows), len(already))
        notes = model.notes
        if len(already) < plan.shards:
            with ray_session(config.address):
                placement = place(config)
                record = settle_batch_size(store, record, placement.batch_size)
                notes += placement.notes
                notes += run_rounds(store, config, record, placement, plan, lease, report)
        finish_publishing(store, set(range(plan.shards)))
        rows_before = rows_in(already, plan, config.shard_rows)
        return summarize(store, plan, model, started, resumed, rows_before, notes)
    finally:
        lease.release()


def check_before_writing(config: TagConfig, model: ModelIdentity) -> None:
    """Refuse what can be refused before the output is touched.

    Raises:
        ConfigError: the output holds another run or lies inside the source, or no image is there.
        UnreachableError: source or output cannot be read.
    """
    kind, _, source = split_url(config.source)
    out_kind, _, output = split_url(config.output)
    if kind == out_kind == "file" and f"{output}/".startswith(f"{source}/"):
        raise ConfigError(f"output {config.output} lies inside the source; choose another.")
    if out_kind != "file" or os.path.exists(output):
        store = open_store(config.output, config.store)
        check_record(store, config, model)
        if read_plan(store) is not None:
            return
    _check_source(config)


def _check_source(config: TagConfig) -> None:
    names = NameFilter(config.include, config.exclude)
    skipped = 0
    for listed in list_source(config.source, config.store):
        if names.accepts(listed.image_id):
            return
        skipped += 1
    other = f" ({skipped:,} objects of other names)" if skipped else ""
    raise ConfigError(f"There are no images under {config.source}{other}; check it, or --include.")


def make_plan(
    store: Store, config: TagConfig, lease: Lease, report: RunProgress
) -> tuple[PlanSummary, bool]:
    """Return the run's plan and whether it was there already; list the source when it was not."""
    plan = read_plan(store)
    if plan is not None:
        return plan, True

    def on_listed(rows: int) -> None:
        keep_lease(lease, config)
        report.listed(rows)

    names = NameFilter(config.include, config.exclude)
    objects = list_source(config.source, config.store)
    plan = write_plan(store, objects, names, shard_rows=config.shard_rows, on_listed=on_listed)
    if plan.rows == 0:
        raise ConfigError(f"There are no images under {config.source} any more.")
    return plan, False

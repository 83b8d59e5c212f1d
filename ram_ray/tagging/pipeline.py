"""Tag a bucket: list -> plan -> fetch and decode -> tag -> commit -> summary.

    tag_bucket(TagConfig(source="s3://photos/2026", output="s3://photos-tags/2026"))

Every image ends as exactly one row, tagged or quarantined with a reason. A run that was killed
goes on where its commits end: call it again.
"""

import time

from ram_ray.cluster import place, ray_session
from ram_ray.runs.commits import committed_shards, finish_publishing
from ram_ray.runs.leases import take_lease
from ram_ray.storage.stores import open_store, probe_create_if_absent
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import identify_model
from ram_ray.tagging.plan import check_before_writing, make_plan
from ram_ray.tagging.progress import OnProgress, RunProgress
from ram_ray.tagging.record import agree_on_record, settle_batch_size
from ram_ray.tagging.rounds import rows_in, run_rounds
from ram_ray.tagging.summary import RunSummary, summarize


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
        plan, _ = make_plan(store, config, lease, report)
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
        return summarize(store, plan, model, started, bool(already), rows_before, notes)
    finally:
        lease.release()

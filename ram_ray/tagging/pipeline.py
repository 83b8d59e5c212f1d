"""Tag a bucket: list -> plan -> fetch and decode -> tag -> commit -> summary.

    tag_bucket(TagConfig(source="s3://photos/2026", output="s3://photos-tags/2026"))

Every image ends as exactly one row, tagged or quarantined with a reason. A run that was killed
goes on where its commits end: call it again.
"""

import time

from ram_ray.cluster import place, ray_session
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import identify_model
from ram_ray.tagging.plan import open_tag_run, settle_batch_size
from ram_ray.tagging.progress import OnProgress, RunProgress
from ram_ray.tagging.rounds import tag_shards
from ram_ray.tagging.source_changes import change_notes
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
    notes = model.notes
    report = RunProgress(on_progress, started)
    with open_tag_run(config, model, report) as run:
        notes += change_notes(run, config)
        shards = run.shards(max_rounds=config.max_rounds)
        report.start(run.plan, config.shard_rows, shards.before)
        if not shards.all_done:
            with ray_session(config.address):
                placement = place(config)
                batch_size = settle_batch_size(run, config, placement)
                notes += placement.notes
                changes = run.record["changed_etag"]
                notes += tag_shards(
                    shards, config, model, placement, batch_size, report, changes=changes
                )
        shards.finish()
        return summarize(run, shards.before, config, model, started, notes)

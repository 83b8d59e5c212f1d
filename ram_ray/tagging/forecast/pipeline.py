"""Plan a run and say what it will take, before anything is spent: list -> sample -> estimate.

    plan_bucket(TagConfig(source="s3://photos/2026", output="s3://photos-tags/2026"))

The plan is written; `tag_bucket` with the same settings goes on from it without listing again.
"""

import os
import time
from dataclasses import dataclass, field

from ram_ray.config import require
from ram_ray.runs.commits import committed_shards
from ram_ray.storage.stores import split_url
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.forecast.estimate import Bill, Estimate, Prices, bill_of, estimate_run
from ram_ray.tagging.forecast.sample import Sample, measure_sample
from ram_ray.tagging.model import identify_model
from ram_ray.tagging.plan import open_tag_run
from ram_ray.tagging.progress import OnProgress, RunProgress
from ram_ray.tagging.source_changes import change_notes

DEFAULT_SAMPLE = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class PlanReport:
    """What is planned, and what it will take."""

    num_images: int
    size_bytes: int
    num_skipped: int
    """Objects left out by name."""
    skipped_by_suffix: dict[str, int] = field(default_factory=dict)
    """Of those; empty where 0.1.0 wrote the plan."""
    passed_over: dict[str, int] = field(default_factory=dict)
    """What could not be listed or is no file, by reason."""
    passed_examples: dict[str, str] = field(default_factory=dict)
    """The first place of each reason."""
    num_shards: int
    num_done: int
    """Images that are committed already."""
    listing_s: float
    planned_before: bool
    """The plan was there; nothing was listed."""
    sample: Sample | None
    """None where none was asked for, or nothing is left to do."""
    estimate: Estimate | None
    """Of the images that are left; None also where no image of the sample could be decoded."""
    bill: Bill
    model_id: str
    output: str
    notes: tuple[str, ...]


def plan_bucket(
    config: TagConfig,
    *,
    sample: int = DEFAULT_SAMPLE,
    prices: Prices | None = None,
    on_progress: OnProgress | None = None,
) -> PlanReport:
    """Write the plan of a run unless it is there, and estimate what is left of the run.

    Args:
        sample: images to fetch, decode and tag on this machine; 0: only count.

    Raises:
        ConfigError: a setting is wrong, or the output holds another run; nothing was written.
        UnreachableError: source, output or model cannot be reached.
        LeaseHeldError: another driver works on this output.
    """
    require(sample >= 0, "sample", sample, "at least 0")
    started = time.monotonic()
    model = identify_model(config)
    with open_tag_run(config, model, RunProgress(on_progress, started)) as run:
        committed = committed_shards(run.store)
        notes = model.notes + change_notes(run, config)
    store, plan = run.store, run.plan
    done = plan.rows_in(committed, config.shard_rows)
    left = plan.rows - done
    measured = measure_sample(store, plan, config, sample) if left and sample else None
    estimate = _estimate(measured, left, config)
    bill = bill_of(
        estimate,
        prices or Prices(),
        images=left,
        shards=plan.shards - len(committed),
        source_is_bucket=split_url(config.source)[0] != "file",
        output_is_bucket=split_url(config.output)[0] != "file",
    )
    return PlanReport(
        num_images=plan.rows,
        size_bytes=plan.size_bytes,
        num_skipped=plan.skipped,
        skipped_by_suffix=plan.skipped_by_suffix,
        passed_over=plan.passed_over,
        passed_examples=plan.passed_examples,
        num_shards=plan.shards,
        num_done=done,
        listing_s=plan.listing_s,
        planned_before=run.planned_before,
        sample=measured,
        estimate=estimate,
        bill=bill,
        model_id=model.model_id,
        output=store.url,
        notes=notes + _warnings(measured, config),
    )


def _estimate(sample: Sample | None, images: int, config: TagConfig) -> Estimate | None:
    if sample is None or sample.num_failed == sample.num_images:
        return None
    cpus = os.cpu_count() or 1
    return estimate_run(
        sample,
        images,
        cpus=cpus,
        gpus=_num_gpus() if sample.device == "cuda" else 0,
        fetchers=config.num_decoders or max(1, cpus // 2),
    )


def _num_gpus() -> int:
    import torch

    return torch.cuda.device_count()


def _warnings(sample: Sample | None, config: TagConfig) -> tuple[str, ...]:
    """Return what the user should look at before the run."""
    if sample is None or not sample.num_failed:
        return ()
    share = sample.num_failed / sample.num_images
    if share == 1:
        return ("No image of the sample can be tagged: check the source first.",)
    if share > config.max_error_rate:
        return (
            f"{share:.0%} of the sample cannot be tagged, more than --max-error-rate "
            f"({config.max_error_rate:.0%}): the run would end with exit code 3.",
        )
    return ()

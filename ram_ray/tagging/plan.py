"""Open a run of tagging: the same run? its lease; then its plan, listed unless it is there."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager

from ram_ray.cluster import Placement
from ram_ray.errors import ConfigError
from ram_ray.runs.opening import Planner, Run, open_run, refuse_inside
from ram_ray.runs.plans import PlanSummary, write_plan
from ram_ray.runs.record import dump
from ram_ray.storage.listing import images_after, in_key_order, list_images
from ram_ray.storage.sources import NameFilter, PassedOver, SourceObject
from ram_ray.storage.stores import Store, split_url
from ram_ray.storage.unique_ids import refuse_twice
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import ModelIdentity
from ram_ray.tagging.progress import RunProgress
from ram_ray.tagging.record import SETTLED_KEY, settled_batch_size, tag_record


def open_tag_run(
    config: TagConfig, model: ModelIdentity, report: RunProgress
) -> AbstractContextManager[Run[PlanSummary]]:
    """Open the output of `tag` or `plan`; `report` is told what is listed.

    Raises:
        ConfigError: the output holds another run or lies inside the source, or no image is there.
        UnreachableError: source or output cannot be read.
        LeaseHeldError: another driver works on this output.
    """
    if split_url(config.source)[0] == "file":  # in a bucket, tags are no names of images
        refuse_inside(config.output, {"source": config.source})

    def check() -> None:
        check_source(config)

    def write(store: Store, on_planned: Callable[[int], None]) -> PlanSummary:
        return write_tag_plan(config, store, on_planned)

    return open_run(
        config.output,
        config.store,
        record=tag_record(config, model),
        planner=Planner(kind=PlanSummary, write=write, on_planned=report.listed, check=check),
    )


def check_source(config: TagConfig) -> None:
    """Refuse a source without one image.

    Raises:
        ConfigError: there is none; says how many objects have other names.
        UnreachableError: the source cannot be listed.
    """
    names = NameFilter(config.include, config.exclude, config.decode.formats)
    skipped = 0
    passed = PassedOver()
    for listed in list_images(config.source, config.store, names, passed, config):
        if names.takes(listed):
            return
        skipped += 1
    there = [f"{skipped:,} objects of other names"] if skipped else []
    there += [f"{count:,} {why} ({passed.examples[why]})" for why, count in passed.counts.items()]
    other = f" ({', '.join(there)})" if there else ""
    raise ConfigError(f"There are no images under {config.source}{other}; check it, or --include.")


def write_tag_plan(
    config: TagConfig, store: Store, on_listed: Callable[[int], None]
) -> PlanSummary:
    """List the source and write the plan.

    Raises:
        ConfigError: the images that `check_source` saw are gone.
    """
    names = NameFilter(config.include, config.exclude, config.decode.formats)
    passed = PassedOver()

    def listed() -> Iterator[SourceObject]:
        return list_images(config.source, config.store, names, passed, config)

    def after(uri: str) -> Iterator[SourceObject]:
        return images_after(config.source, uri, config.store, names, passed, config)

    plan = write_plan(
        store,
        refuse_twice(listed),
        names,
        shard_rows=config.shard_rows,
        on_listed=on_listed,
        passed=passed,
        after=after if in_key_order(config.source) else None,
    )
    if plan.rows == 0:
        raise ConfigError(f"There are no images under {config.source} any more.")
    return plan


def settle_batch_size(run: Run[PlanSummary], config: TagConfig, placement: Placement) -> int:
    """Return the images per model call: the record's, so that scores stay bit-equal.

    The first call that knows the hardware writes it down, once; a call that asks for another gets
    it.
    """
    recorded = run.record.get("batch_size")
    if recorded is None:
        mine = config.batch_size or placement.batch_size
        run.store.create(SETTLED_KEY, dump({"batch_size": mine}))
        recorded = settled_batch_size(run.store) or mine
    return config.batch_size or recorded

"""The plan of a run: refuse what cannot work before anything is written, then list the source."""

import os

from ram_ray.errors import ConfigError
from ram_ray.runs.leases import Lease
from ram_ray.runs.plans import PlanSummary, read_plan, write_plan
from ram_ray.storage.sources import NameFilter, list_source
from ram_ray.storage.stores import Store, open_store, split_url
from ram_ray.tagging.config import TagConfig
from ram_ray.tagging.model import ModelIdentity
from ram_ray.tagging.progress import RunProgress
from ram_ray.tagging.record import check_record


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
        lease.keep()
        report.listed(rows)

    names = NameFilter(config.include, config.exclude)
    objects = list_source(config.source, config.store)
    plan = write_plan(store, objects, names, shard_rows=config.shard_rows, on_listed=on_listed)
    if plan.rows == 0:
        raise ConfigError(f"There are no images under {config.source} any more.")
    return plan, False

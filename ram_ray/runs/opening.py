"""Open an output for one call: is it this run, who works on it, what is planned.

Nothing is written before it is known that the output holds no other run.
"""

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Generic

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.runs.leases import Lease, take_lease
from ram_ray.runs.plan_files import AnyPlan, read_plan_as
from ram_ray.runs.record import Record, agree_on_record, check_record
from ram_ray.runs.rounds import Shards
from ram_ray.storage.stores import (
    Store,
    absolute_url,
    open_store,
    probe_create_if_absent,
    split_url,
)


def _nothing() -> None:
    return None


@dataclass(frozen=True, kw_only=True, slots=True)
class Planner(Generic[AnyPlan]):
    """How a pipeline plans its runs."""

    kind: type[AnyPlan]
    """A dataclass of what plan.json says; it has `shards`."""
    write: Callable[[Store, Callable[[int], None]], AnyPlan]
    """Lists the source and writes the plan, telling the function how far it is; refuses a source
    that gives no shard."""
    on_planned: Callable[[int], None] = lambda _: None
    """Told how far `write` is."""
    check: Callable[[], None] = _nothing
    """Refuses, before the output is touched, a source that cannot be planned."""


@dataclass(frozen=True, slots=True)
class Run(Generic[AnyPlan]):
    """An output that is open: this call alone works on it."""

    store: Store
    lease: Lease
    record: dict[str, Any]
    """The record as it is stored; an earlier call may have written it."""
    plan: AnyPlan
    planned_before: bool

    @property
    def url(self) -> str:
        """Return the output's name as workers in other folders need it."""
        return absolute_url(self.store.url)

    def shards(self, *, max_rounds: int, on_done: Callable[[int], None] | None = None) -> Shards:
        """Return the plan's shards; `on_done` is told how many of them are done."""
        tell = on_done or (lambda done: None)
        return Shards(self.store, self.plan.shards, self.lease, max_rounds=max_rounds, on_done=tell)


@contextmanager
def open_run(
    output: str, config: StoreConfig, *, record: Record, planner: Planner[AnyPlan]
) -> Iterator[Run[AnyPlan]]:
    """Open an output: agree on the record, take the lease, read the plan or write it.

    Raises:
        ConfigError: the output holds another run or its source cannot be planned.
        UnreachableError: source or output cannot be reached.
        LeaseHeldError: another driver works on this output.
    """
    _check_before_writing(output, config, record, planner)
    store = open_store(output, config, create=True)
    probe_create_if_absent(store)
    with held_lease(store) as lease:
        stored = agree_on_record(store, record)
        plan = read_plan_as(store, planner.kind)
        before = plan is not None
        if plan is None:

            def on_planned(count: int) -> None:
                lease.keep()
                planner.on_planned(count)

            plan = planner.write(store, on_planned)
        yield Run(store, lease, stored, plan, before)


@contextmanager
def held_lease(store: Store) -> Iterator[Lease]:
    """Hold an output's lease for the length of a block.

    Raises:
        LeaseHeldError: another driver works on this output.
    """
    lease = take_lease(store)
    try:
        yield lease
    finally:
        lease.release()


def refuse_inside(output: str, places: Mapping[str, str | None]) -> None:
    """Refuse an output below a place that it is made from, or the same.

    Raises:
        ConfigError: it is; names the place.
    """
    *where, below = split_url(output)
    for name, place in places.items():
        if place is not None:
            *other, path = split_url(place)
            if where == other and f"{below}/".startswith(f"{path}/"):
                raise ConfigError(f"output {output} lies inside the {name}; choose another.")


def _check_before_writing(
    output: str, config: StoreConfig, record: Record, planner: Planner[AnyPlan]
) -> None:
    scheme, _, path = split_url(output)
    if scheme != "file" or os.path.exists(path):
        store = open_store(output, config)
        check_record(store, record)
        if read_plan_as(store, planner.kind) is not None:
            return
    planner.check()

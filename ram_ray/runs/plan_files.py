"""Where a plan lies, so that no second planner can destroy it.

plan/<attempt>/shard-000000.parquet   written once, by the one driver that the attempt is of
plan/<attempt>/progress.json          rewritten by it after each shard: how far it is
plan/plan.json                        last, create-if-absent: whose shards count, and their hash

An attempt may begin with the shards of one that was killed: plan.json then names both. 0.1.0 wrote
all files into plan/ itself.
"""

import hashlib
import json
import re
import time
import uuid
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Protocol, TypeVar
from weakref import WeakKeyDictionary

from ram_ray.errors import ConfigError
from ram_ray.storage.stores import Store

PLAN_KEY = "plan/plan.json"
_PROGRESS = "progress.json"
_SHARD = re.compile(r"[a-z]+-(\d{6,})\.parquet")
_OWN_FIELDS = ("attempts", "sha256")


class AnyPlanSummary(Protocol):
    """What plan.json says of a plan, whatever it is a plan of: a dataclass of JSON values."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def shards(self) -> int:
        """Return how many shards there are."""
        ...


AnyPlan = TypeVar("AnyPlan", bound=AnyPlanSummary)


@dataclass(frozen=True, slots=True)
class PlanPlace:
    """Which files are the plan's."""

    attempts: tuple[tuple[str, int], ...] = ()
    """(attempt, how many shards of it count), in the order of the shards; (): of 0.1.0."""
    sha256: str | None = None
    """Of all shards, chained in their order; None: of 0.1.0."""

    def key(self, name: str, shard: int | None = None) -> str:
        """Return where a file of the plan lies, such as that of a shard."""
        if not self.attempts:
            return f"plan/{name}"
        for attempt, count in self.attempts:
            if shard is not None and shard < count:
                return f"plan/{attempt}/{name}"
            shard = None if shard is None else shard - count
        return f"plan/{self.attempts[-1][0]}/{name}"


_places: WeakKeyDictionary[Store, PlanPlace] = WeakKeyDictionary()
"""Of stores whose plan is written: it never changes again."""


def plan_place(store: Store) -> PlanPlace:
    """Return which files are the plan's; those of 0.1.0 while there is no plan."""
    place = _places.get(store)
    if place is None:
        stored = _stored(store)
        if stored is None:
            return PlanPlace()
        attempts = tuple((name, count) for name, count in stored.get("attempts", ()))
        place = _places[store] = PlanPlace(attempts, stored.get("sha256"))
    return place


def read_plan_as(store: Store, kind: type[AnyPlan]) -> AnyPlan | None:
    """Return what plan.json says; None when no plan was finished here."""
    stored = _stored(store)
    if stored is None:
        return None
    return kind(**{name: value for name, value in stored.items() if name not in _OWN_FIELDS})


def _stored(store: Store) -> dict[str, Any] | None:
    try:
        return json.loads(store.read(PLAN_KEY))
    except FileNotFoundError:
        return None


class PlanWriter:
    """One driver's attempt at a plan."""

    def __init__(self, store: Store, *, resume: bool = False) -> None:
        """Begin an attempt.

        Args:
            resume: begin with the shards of the killed attempt that came farthest.
        """
        self.store = store
        self._attempt = f"{int(time.time())}-{uuid.uuid4().hex[:12]}"
        self._earlier: list[tuple[str, int]] = []
        self._sha256 = ""
        self._num_shards = 0
        self.resumed: dict[str, Any] | None = None
        """What the killed attempt noted at its last shard; None: there is none."""
        if resume and (found := _farthest(store)):
            self._earlier = [(name, count) for name, count in found["attempts"]]
            self._sha256 = found["sha256"]
            self.resumed = found["noted"]

    def write(self, name: str, data: bytes) -> None:
        """Write a file of the plan that is no shard."""
        self.store.write(f"plan/{self._attempt}/{name}", data)

    def write_shard(self, name: str, data: bytes) -> None:
        """Write the next shard."""
        self.write(name, data)
        both = self._sha256 + hashlib.sha256(data).hexdigest()
        self._sha256 = hashlib.sha256(both.encode()).hexdigest()
        self._num_shards += 1

    def note(self, facts: dict[str, Any]) -> None:
        """Note where the listing is after the last shard, for who comes after a kill."""
        self.write(_PROGRESS, json.dumps(self._place() | {"noted": facts}, indent=1).encode())

    def finish(self, summary: AnyPlan) -> AnyPlan:
        """Publish the plan, unless another driver was first; return the plan that counts.

        Raises:
            ConfigError: plan.json was removed meanwhile.
        """
        if not summary.shards:
            return summary
        body = json.dumps(asdict(summary) | self._place(), indent=1).encode()  # pyright: ignore
        first = self.store.create(PLAN_KEY, body)
        _places.pop(self.store, None)
        self._discard_all_but(plan_place(self.store))
        plan = summary if first else read_plan_as(self.store, type(summary))
        if plan is None:
            raise ConfigError(f"{self.store.url}/{PLAN_KEY} was removed while it was written.")
        return plan

    def _place(self) -> dict[str, Any]:
        return {
            "attempts": [*self._earlier, (self._attempt, self._num_shards)],
            "sha256": self._sha256,
        }

    def _discard_all_but(self, place: PlanPlace) -> None:
        """Remove what killed planners left; what a late one writes yet, nobody reads."""
        for key in self.store.list("plan"):
            name = key.rpartition("/")[2]
            found = _SHARD.match(name)
            kept = key == place.key(name, int(found[1]) if found else None)
            if key != PLAN_KEY and (not kept or name == _PROGRESS):
                self.store.discard(key)
        self.store.remove_empty_folders("plan")


def rows_planned_so_far(store: Store) -> int | None:
    """Return how many rows the farthest attempt has written; None where none has said so."""
    progress = _farthest(store)
    return progress["noted"]["rows"] if progress else None


def _farthest(store: Store) -> dict[str, Any] | None:
    """Return the progress of the attempt that wrote most shards."""
    keys = [key for key in store.list("plan") if key.endswith(f"/{_PROGRESS}")]
    found = [json.loads(store.read(key)) for key in keys]
    return max(found, key=lambda each: sum(n for _, n in each["attempts"]), default=None)

"""A call of the engine, its steps, and what makes a step the same step.

OUTPUT/steps/NAME-FINGERPRINT/   step.json, commits/, staging/, one folder per table

The fingerprint is of the step's settings and of the steps it reads. The same step of the same
input is therefore resumed, and another setting starts it, and what follows it, beside the old one.
"""

import hashlib
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from ram_ray.config import StoreConfig
from ram_ray.data_engine.config import STEPS, EngineConfig
from ram_ray.data_engine.plan.image_plan import ImagePlan
from ram_ray.errors import ConfigError
from ram_ray.runs.commits import committed_shards, read_commits
from ram_ray.runs.leases import Lease
from ram_ray.runs.record import dump, fingerprint
from ram_ray.storage.stores import Store, open_store

STEP_KEY = "step.json"
IDENTITY_OF = "0.1.0"
"""The version whose identity of steps this is; later versions take its steps for their own."""


@dataclass(frozen=True, slots=True)
class StepProgress:
    """How far a step is; told to `on_progress`."""

    step: str
    done: int
    total: int
    """Shards."""


OnProgress = Callable[[StepProgress], None]


@dataclass(frozen=True, slots=True)
class EngineRun:
    """What the steps of one call share."""

    config: EngineConfig
    """Its `output` is absolute, for workers in other folders."""
    store: Store
    """The whole output."""
    plan: ImagePlan
    vocabulary_sha256: str
    lease: Lease
    on_progress: OnProgress
    wanted: frozenset[str]
    """Steps of STEPS that this call does; the others must be done already."""

    def uses(self, name: str) -> bool:
        """Tell whether this call needs a step: it is on, and not behind the last wanted one."""
        is_on = getattr(self.config, name, True) if name not in ("filter", "report") else True
        last = max(STEPS.index(step) for step in self.wanted)
        return bool(is_on) and STEPS.index(name) <= last


@dataclass(frozen=True, slots=True)
class Step:
    """One step with its settings and input: where its tables lie."""

    name: str
    fingerprint: str
    url: str
    num_shards: int

    def open(self, config: StoreConfig) -> Store:
        """Open its folder for reading."""
        return open_store(self.url, config)


@dataclass(frozen=True, slots=True)
class StepsDone:
    """The steps before `filter`; None where a step is off."""

    parsed: Step
    seen: Step | None
    added: Step | None
    located: Step | None
    judged: Step | None

    def all(self) -> tuple[Step | None, ...]:
        """Return them in order."""
        return self.parsed, self.seen, self.added, self.located, self.judged

    def urls(self) -> dict[str, str | None]:
        """Return where they lie, by the names of the fields."""
        names = ("parsed", "seen", "added", "located", "judged")
        pairs = zip(names, self.all(), strict=True)
        return {name: step.url if step else None for name, step in pairs}

    def names(self) -> dict[str, str | None]:
        """Return the same below the output, such as `steps/parse-1f2e...`."""
        return {
            name: url and "/".join(url.rsplit("/", 2)[-2:]) for name, url in self.urls().items()
        }


def identify(
    run: EngineRun, name: str, settings: dict[str, Any], inputs: Iterable[Step | None]
) -> tuple[dict[str, Any], str]:
    """Return what makes a step the same step, and the hash of it."""
    identity = {
        "step": name,
        "settings": settings,
        "inputs": [step.fingerprint if step else None for step in inputs],
        "vocabulary_sha256": run.vocabulary_sha256,
        "ram_ray": IDENTITY_OF,
    }
    return identity, fingerprint(identity)


def open_step(
    run: EngineRun, name: str, settings: dict[str, Any], inputs: Iterable[Step | None]
) -> Step:
    """Return the step's place in the output, made if it is not there; or the given tables'."""
    given = dict(text.split("=", 1) for text in run.config.tables)
    if name in given:
        return _given_step(run, name, given[name])
    identity, same = identify(run, name, settings, inputs)
    url = f"{run.config.output.rstrip('/')}/steps/{name}-{same[:12]}"
    store = open_store(url, run.config.store, create=True)
    store.create(STEP_KEY, dump(identity))
    return Step(name, same, url, run.plan.shards)


def is_complete(step: Step, config: StoreConfig) -> bool:
    """Tell whether every shard of the step is committed."""
    return len(committed_shards(step.open(config))) == step.num_shards


def _given_step(run: EngineRun, name: str, url: str) -> Step:
    """Return tables that were made elsewhere.

    Raises:
        ConfigError: they are not those of as many shards.
    """
    store = open_store(url, run.config.store)
    shards = committed_shards(store)
    if shards != set(range(run.plan.shards)):
        raise ConfigError(
            f"tables has {name}={url}, which holds {len(shards)} committed shards, but the run has "
            f"{run.plan.shards}."
        )
    digest = hashlib.sha256(url.encode())
    for commit in read_commits(store, sorted(shards)):
        digest.update(commit.attempt.encode())
    return Step(name, digest.hexdigest(), url, run.plan.shards)

"""Revisions of an output: each holds a whole set of labels, and none is ever changed.

revisions/000001/  step.json  commits/  labels/  images/  log/  revision.json (written last)

A run with other settings, and an undo, make the next revision. `revision.json` names the
revisions whose logs, replayed in this order, give its labels.
"""

import json
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa

from ram_ray.data_engine.revisions.decision_log import DECISION
from ram_ray.data_engine.steps import STEP_KEY, EngineRun, Step, identify
from ram_ray.data_engine.steps.tables import IMAGE_ID, TAG_ID
from ram_ray.errors import ConfigError
from ram_ray.runs.record import dump
from ram_ray.storage.stores import Store, open_store

REVISION_KEY = "revision.json"
_STEP_FILE = re.compile(r"revisions/(\d{6})/step\.json")

LABELS = pa.schema(
    [
        IMAGE_ID,
        pa.field("uri", pa.string(), nullable=False),
        TAG_ID,
        pa.field("tag", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # object, scene, attribute, action, other
        pa.field("present", pa.bool_(), nullable=False),  # the final label
        pa.field("decided_by", pa.string(), nullable=False),  # the rule that decided it
        pa.field("sources", pa.list_(pa.string()), nullable=False),  # who says the tag is there
        pa.field("captions", pa.list_(pa.int32()), nullable=False),  # which captions name it
        pa.field("score", pa.float32()),  # of the tagger on the whole image; null: not stored
        pa.field("region_score", pa.float32()),  # on the best region; null: none was found
        pa.field("box", pa.list_(pa.float32(), 4)),  # left, top, right, bottom, 0..1
        pa.field("cluster_z", pa.float32()),  # how unusual the region looks, in deviations
        pa.field("decisions", pa.list_(DECISION), nullable=False),  # in order
    ]
)
"""Provenance: one row per (image, tag) that anybody said anything about."""

IMAGES = pa.schema(
    [
        IMAGE_ID,
        pa.field("uri", pa.string(), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),  # the final labels, by id
        pa.field("tag_ids", pa.list_(pa.int32()), nullable=False),
        pa.field("captions", pa.list_(pa.string()), nullable=False),
        pa.field("generated_caption", pa.string()),
    ]
)
"""What training reads: one row per image."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Revision:
    """A finished revision."""

    number: int
    made_by: str
    """`run`, or `undo RULE`."""
    fingerprint: str
    num_shards: int
    steps: dict[str, str | None]
    """Folder of each step it came from, below the output."""
    logs: tuple[int, ...]
    """Revisions whose logs give its labels, in order."""
    undone: tuple[str, ...]
    created_at: str
    facts: dict[str, Any]
    """What the report says about models and settings."""


def open_revision(run: EngineRun, settings: dict[str, Any], inputs: Iterable[Step | None]) -> Step:
    """Return the revision of these settings and inputs, begun or finished; else the next number."""
    identity, fingerprint = identify(run, "filter", settings, inputs)
    numbers: list[int] = []
    for key in run.store.list("revisions"):
        if match := _STEP_FILE.fullmatch(key):
            number = int(match[1])
            numbers.append(number)
            if json.loads(run.store.read(key))["fingerprint"] == fingerprint:
                return _step(run, number, fingerprint)
    number = max(numbers, default=0) + 1
    body = dump(identity | {"fingerprint": fingerprint})
    if not run.store.create(f"revisions/{number:06d}/{STEP_KEY}", body):
        raise ConfigError(f"Another driver has just begun revision {number} of {run.store.url}.")
    return _step(run, number, fingerprint)


def finish_revision(
    run: EngineRun,
    step: Step,
    *,
    made_by: str = "run",
    steps: dict[str, str | None],
    logs: tuple[int, ...] = (),
    undone: tuple[str, ...] = (),
    facts: dict[str, Any],
) -> Revision:
    """Write revision.json once every shard is committed; return what it says."""
    number = number_of(step)
    store = step.open(run.config.store)
    revision = Revision(
        number=number,
        made_by=made_by,
        fingerprint=step.fingerprint,
        num_shards=step.num_shards,
        steps=steps,
        logs=(*logs, number),
        undone=undone,
        created_at=datetime.now(UTC).isoformat(timespec="seconds"),
        facts=facts,
    )
    if store.create(REVISION_KEY, json.dumps(asdict(revision), indent=1, default=str).encode()):
        return revision
    return read_revision(run.store, number)


def number_of(step: Step) -> int:
    """Return the number of a revision's step."""
    return int(step.url.rstrip("/").rsplit("/", 1)[-1])


def read_revision(store: Store, number: int | None = None) -> Revision:
    """Return a finished revision; None: the latest.

    Raises:
        ConfigError: there is no such revision, or it is not finished.
    """
    there = finished_revisions(store)
    if not there:
        raise ConfigError(f"{store.url} holds no finished engine run; `ram-ray engine run` first.")
    number = there[-1] if number is None else number
    if number not in there:
        shown = ", ".join(map(str, there))
        raise ConfigError(f"revision is {number}, but {store.url} has finished {shown}.")
    fields = json.loads(store.read(f"revisions/{number:06d}/{REVISION_KEY}"))
    for name in ("logs", "undone"):
        fields[name] = tuple(fields[name])
    return Revision(**fields)


def finished_revisions(store: Store) -> list[int]:
    """Return the numbers of the finished revisions, ascending."""
    ending = f"/{REVISION_KEY}"
    return sorted(int(key.split("/")[1]) for key in store.list("revisions") if key.endswith(ending))


def split_run(target: str) -> tuple[str, int | None]:
    """Split `OUTPUT@3` into output and revision; without a number the revision is None."""
    output, at, number = target.rpartition("@")
    if at and number.isdecimal():
        return output, int(number)
    return target, None


def open_run(target: str, config: Any) -> tuple[Store, Revision]:
    """Open `OUTPUT` or `OUTPUT@REVISION`."""
    output, number = split_run(target)
    store = open_store(output, config)
    return store, read_revision(store, number)


def revision_store(store: Store, number: int, config: Any) -> Store:
    """Open the folder of a revision."""
    return open_store(f"{store.url.rstrip('/')}/revisions/{number:06d}", config)


def _step(run: EngineRun, number: int, fingerprint: str) -> Step:
    url = f"{run.config.output.rstrip('/')}/revisions/{number:06d}"
    return Step("filter", fingerprint, url, run.plan.shards)

"""Take a rule back: a new revision in which nothing that the rule decided counts.

The log of the new revision holds one line per (image, tag) that the rule had a word in, and no
other; its labels are what replaying the logs of both gives.
"""

from collections import Counter
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from ram_ray.cluster import ray_session
from ram_ray.config import StoreConfig
from ram_ray.data_engine.config import STEPS, EngineConfig
from ram_ray.data_engine.filter.decide import count_label
from ram_ray.data_engine.plan.image_plan import read_image_plan
from ram_ray.data_engine.report.write import write_report
from ram_ray.data_engine.revisions.corrections import PROBLEMS
from ram_ray.data_engine.revisions.decision_log import (
    LOG,
    UNDO,
    UNDOABLE,
    decide_final,
    entry,
    flatten,
)
from ram_ray.data_engine.revisions.label_sets import (
    IMAGES,
    LABELS,
    Revision,
    finish_revision,
    open_revision,
    read_revision,
    revision_store,
    split_run,
)
from ram_ray.data_engine.steps import (
    EngineRun,
    OnProgress,
    Step,
    counts_table,
    read_table,
    run_tables,
)
from ram_ray.errors import ConfigError
from ram_ray.runs.commits import Commit, commit_tables
from ram_ray.runs.opening import held_lease
from ram_ray.storage.stores import absolute_url, open_store


@dataclass(frozen=True, kw_only=True, slots=True)
class UndoResult:
    """What an undo changed."""

    revision: int
    undone: str
    num_decisions: int
    """(image, tag) pairs that the rule had a word in."""
    num_changed: int
    """Of them those whose final label is another now."""
    report: str


def undo_rule(
    target: str,
    rule: str,
    *,
    store: StoreConfig | None = None,
    address: str | None = None,
    on_progress: OnProgress | None = None,
) -> UndoResult:
    """Make the next revision of an output, in which `rule` decides nothing.

    Args:
        target: OUTPUT for its latest revision, or OUTPUT@REVISION.

    Raises:
        ConfigError: no such run or rule, or it is undone already.
        LeaseHeldError: another driver works on this output.
        IncompleteRunError: some shards failed in every round; run again to resume.
    """
    if rule not in UNDOABLE:
        raise ConfigError(f"rule is {rule!r}, but must be one of {', '.join(UNDOABLE)}.")
    output, number = split_run(target)
    config = EngineConfig(source=output, output=absolute_url(output), store=store or StoreConfig())
    opened = open_store(output, config.store)
    before = read_revision(opened, number)
    if rule in before.undone:
        raise ConfigError(f"rule is {rule!r}, which revision {before.number} has undone already.")
    plan = read_image_plan(opened)
    assert plan is not None, "a revision has a plan"
    with held_lease(opened) as lease, ray_session(address):
        run = EngineRun(
            config=config,
            store=opened,
            plan=plan,
            vocabulary_sha256="",
            lease=lease,
            on_progress=on_progress or (lambda progress: None),
            wanted=frozenset(STEPS),
        )
        return _undo(run, before, rule)


def _undo(run: EngineRun, before: Revision, rule: str) -> UndoResult:
    url = revision_store(run.store, before.number, run.config.store).url
    previous = Step("filter", before.fingerprint, url, before.num_shards)
    step = open_revision(run, {"undo": rule}, (previous,))
    run_tables(run, step, UndoRule, run.config.store, url, step.url, rule)
    revision = finish_revision(
        run,
        step,
        made_by=f"undo {rule}",
        steps=before.steps,
        logs=before.logs,
        undone=(*before.undone, rule),
        facts=before.facts,
    )
    report = write_report(run.store, revision, run.config.store)
    counts: Counter[Any] = Counter()
    own = step.open(run.config.store)
    for shard in range(step.num_shards):
        for row in read_table(own, "counts", shard).to_pylist():
            counts[row["name"]] += row["value"]
    return UndoResult(
        revision=revision.number,
        undone=rule,
        num_decisions=counts["undone"],
        num_changed=counts["changed"],
        report=f"{run.store.url.rstrip('/')}/{report}",
    )


class UndoRule:
    """Replays the labels of a shard without a rule."""

    def __init__(self, config: StoreConfig, before_url: str, step_url: str, rule: str) -> None:
        self._before = open_store(before_url, config)
        self._store = open_store(step_url, config)
        self._rule = rule

    def commit(self, shard: int) -> Commit:
        """Undo in one shard and commit it."""
        labels = read_table(self._before, "labels", shard).to_pylist()
        images = read_table(self._before, "images", shard).to_pylist()
        counts: Counter[Any] = Counter(images=len(images), undone=0, changed=0)
        log: list[dict[str, Any]] = []
        for label in labels:
            if any(one["rule"] == self._rule for one in label["decisions"]):
                undo = entry(self._rule, UNDO, was=label["present"])
                log += flatten([label | {"decisions": [undo]}])
                label["decisions"].append(undo)
                was = label["present"]
                label["present"], label["decided_by"] = decide_final(label["decisions"])
                counts["undone"] += 1
                counts["changed"] += was != label["present"]
            count_label(label, counts)
        kept: dict[str, list[dict[str, Any]]] = {row["image_id"]: [] for row in images}
        for label in labels:
            if label["present"]:
                kept[label["image_id"]].append(label)
        for row in images:
            row["tags"] = [label["tag"] for label in kept[row["image_id"]]]
            row["tag_ids"] = [label["tag_id"] for label in kept[row["image_id"]]]
        tables = {
            "labels": pa.Table.from_pylist(labels, LABELS),
            "images": pa.Table.from_pylist(images, IMAGES),
            "log": pa.Table.from_pylist(log, LOG),
            "problems": read_table(self._before, "problems", shard).cast(PROBLEMS),
            "counts": counts_table(counts),
        }
        return commit_tables(self._store, shard, tables, tagged=len(images), quarantined_by_code={})

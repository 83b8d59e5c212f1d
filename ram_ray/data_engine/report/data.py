"""What the report shows, read from the files of the steps."""

import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from ram_ray.config import StoreConfig
from ram_ray.data_engine.filter.decide import FILTER_KEY
from ram_ray.data_engine.generate.thresholds_file import stored_thresholds
from ram_ray.data_engine.look.models import ModelIdentity
from ram_ray.data_engine.plan.image_plan import name_hash, read_image_plan, read_orphans
from ram_ray.data_engine.revisions.decision_log import ADDING_RULES, HUMAN, REMOVING_RULES
from ram_ray.data_engine.revisions.label_sets import Revision, revision_store
from ram_ray.data_engine.steps import EngineRun, Step, StepsDone, read_table, sum_counts
from ram_ray.runs.plan_files import plan_place
from ram_ray.storage.parquet import read_parquet
from ram_ray.storage.stores import Store, open_store
from ram_ray.tagging.outputs.run_output import spread

MAX_SHARDS_READ = 8
"""Shards that examples are taken from."""
MAX_CANDIDATES = 200
"""Labels of a shard that examples are drawn from."""
EXAMPLES = 12
"""Pictures of added, of removed, and of kept tags each."""
MAX_PROBLEMS = 100


@dataclass(frozen=True, kw_only=True, slots=True)
class Example:
    """One picture with the tag that it stands for."""

    label: dict[str, Any]
    """A revisions.LABELS row."""
    captions: list[str]


@dataclass(frozen=True, kw_only=True, slots=True)
class ReportData:
    """What the page shows."""

    revision: Revision
    plan: dict[str, int]
    steps: dict[str, Counter[Any]]
    """What each step counted, by the names of StepsDone, and `labels`."""
    thresholds: list[dict[str, Any]]
    """thresholds_file.THRESHOLDS rows; none where nothing is generated."""
    filter: dict[str, Any] | None
    """Numbers of the fitted filter; None where there is none."""
    names: dict[int, str]
    """Tags by id, those that occur."""
    added: list[Example]
    removed: list[Example]
    problems: list[tuple[str, str, str]]
    """What, where, why: the first ones."""
    unseen_by_code: dict[str, int]


def run_facts(
    run: EngineRun, models: tuple[ModelIdentity, ...], steps: StepsDone, labels: Step
) -> dict[str, Any]:
    """Return what a revision keeps about how it was made."""
    config = run.config
    del steps, labels
    return {
        "source": config.source,
        "captions": config.captions,
        "models": [model.model_id for model in models],
        "weights_sha256": [model.weights_sha256 for model in models],
        "known_tags": [model.num_tags for model in models],
        "image_size_px": models[0].image_size_px,
        "locator": config.locator if config.locate else None,
        "target_precision": config.target_precision if config.generate else None,
        "trusted": config.trusted,
        "corrections": config.corrections,
        "filter_on": config.filter,
    }


def read_report(store: Store, revision: Revision, config: StoreConfig) -> ReportData:
    """Read what the page shows from the files of the steps."""
    own = revision_store(store, revision.number, config)
    counts = {"labels": _sum(own.url, revision, config)}
    for name, folder in revision.steps.items():
        if folder is not None:
            counts[name] = _sum(f"{store.url.rstrip('/')}/{folder}", revision, config)
    examples = {
        present: [
            row for shard in _shards(revision) for row in _candidates(own, shard, present=present)
        ]
        for present in (True, False)
    }
    plan = read_image_plan(store)
    assert plan is not None, "a revision has a plan"
    return ReportData(
        revision=revision,
        plan={
            name: getattr(plan, name)
            for name in ("shards", "images", "captions", "orphans", "problems", "without_captions")
        },
        steps=counts,
        thresholds=stored_thresholds(store, revision.steps["added"], config),
        filter=_filter(own),
        names={label["tag_id"]: label["tag"] for label in _tag_names(store)},
        added=_examples(examples[True]),
        removed=_examples(examples[False]),
        problems=list(_problems(store, revision, config)),
        unseen_by_code=_unseen(store, revision, config),
    )


def _sum(url: str, revision: Revision, config: StoreConfig) -> Counter[Any]:
    return sum_counts(Step("", "", url, revision.num_shards), config)


def _shards(revision: Revision) -> list[int]:
    return spread(range(revision.num_shards), at_most=MAX_SHARDS_READ)


def _candidates(own: Store, shard: int, *, present: bool) -> list[dict[str, Any]]:
    """Return some labels of a shard that were added, or removed; the others stay a table."""
    table = read_table(own, "labels", shard)
    rules = (*ADDING_RULES[1:], HUMAN) if present else (*REMOVING_RULES, HUMAN)
    decided = np.isin(table["decided_by"].to_numpy(zero_copy_only=False), rules)
    chosen = np.flatnonzero(decided & (table["present"].to_numpy() == present)).tolist()
    some = np.array(spread(chosen, at_most=MAX_CANDIDATES), np.int64)
    rows = table.take(some).to_pylist()
    names = {row["image_id"] for row in rows}
    images = read_table(own, "images", shard).select(["image_id", "captions"])
    wanted = np.isin(images["image_id"].to_numpy(zero_copy_only=False), list(names))
    captions = {row["image_id"]: row["captions"] for row in images.filter(wanted).to_pylist()}
    # What a person removed is an example only where somebody had said it.
    return [
        row | {"image_captions": captions[row["image_id"]]}
        for row in rows
        if present or row["sources"]
    ]


def _examples(labels: list[dict[str, Any]]) -> list[Example]:
    """Return some labels: drawn by hash, each rule in turn, one picture and one tag once."""
    by_rule: dict[str, list[dict[str, Any]]] = {}
    for label in sorted(labels, key=_draw):
        by_rule.setdefault(label["decided_by"], []).append(label)
    chosen: list[dict[str, Any]] = []
    seen: set[object] = set()
    while any(by_rule.values()) and len(chosen) < EXAMPLES:
        for rows in by_rule.values():
            fresh = [row for row in rows if not {row["image_id"], row["tag_id"]} & seen]
            if not fresh:
                rows.clear()
                continue
            row = fresh[0]
            rows.remove(row)
            seen |= {row["image_id"], row["tag_id"]}
            chosen.append(row)
    return [Example(label=row, captions=row["image_captions"]) for row in chosen[:EXAMPLES]]


def _draw(label: dict[str, Any]) -> int:
    return name_hash(f"example/{label['image_id']}/{label['tag_id']}")


def _filter(own: Store) -> dict[str, Any] | None:
    if not own.exists(FILTER_KEY):
        return None
    stored = json.loads(own.read(FILTER_KEY))
    names = ("num_named", "num_wrong", "swapped_share")
    return stored and {name: stored[name] for name in names} | stored["promise"]


def _tag_names(store: Store) -> list[dict[str, Any]]:
    table = read_parquet(store, "vocabulary.parquet", columns=["tag_id", "name"])
    return [{"tag_id": row["tag_id"], "tag": row["name"]} for row in table.to_pylist()]


def _problems(
    store: Store, revision: Revision, config: StoreConfig
) -> Iterator[tuple[str, str, str]]:
    """Yield the first problems of every kind: what, where, why."""
    left = Counter({"caption": MAX_PROBLEMS, "image": MAX_PROBLEMS, "correction": MAX_PROBLEMS})
    stored = read_parquet(store, plan_place(store).key("problems.parquet"))
    for row in stored.slice(0, MAX_PROBLEMS).to_pylist():
        yield "caption line", f"{row['source']}:{row['line']}", row["message"]
    own = revision_store(store, revision.number, config)
    folder = revision.steps["seen"]
    seen = open_store(f"{store.url.rstrip('/')}/{folder}", config) if folder else None
    for shard in range(min(revision.num_shards, 64)):
        for row in read_orphans(store, shard).slice(0, left["caption"]).to_pylist():
            left["caption"] -= 1
            where = f"{row['image_id']} ({row['source']})"
            yield "caption without image", where, row["message"]
        if seen is not None:
            for row in read_table(seen, "quarantine", shard).slice(0, left["image"]).to_pylist():
                left["image"] -= 1
                yield "image", row["image_id"], f"{row['error_code']}: {row['message']}"
        for row in read_table(own, "problems", shard).slice(0, left["correction"]).to_pylist():
            left["correction"] -= 1
            what = row["code"].replace("_", " ")
            yield "correction", f"{row['image_id']}, {row['tag']}", what


def _unseen(store: Store, revision: Revision, config: StoreConfig) -> dict[str, int]:
    from ram_ray.runs.commits import read_commits

    folder = revision.steps["seen"]
    if folder is None:
        return {}
    total: Counter[str] = Counter()
    opened = open_store(f"{store.url.rstrip('/')}/{folder}", config)
    for commit in read_commits(opened, range(revision.num_shards)):
        total.update(commit.quarantined_by_code)
    return dict(total)

"""What becomes of each (image, tag) of a shard: its decisions in order, and the label they give."""

import json
from collections import Counter, defaultdict
from typing import Any

import numpy as np
import pyarrow as pa

from ram_ray.config import StoreConfig
from ram_ray.data_engine.config import RULES
from ram_ray.data_engine.filter.evidence import kind_codes
from ram_ray.data_engine.filter.file import filter_from_json
from ram_ray.data_engine.filter.fit import Decisions, Filter, decide
from ram_ray.data_engine.filter.shard_evidence import (
    Key,
    Rows,
    SeenImage,
    StepFolders,
    collect,
    read_shard,
)
from ram_ray.data_engine.plan.image_plan import read_images, shard_of
from ram_ray.data_engine.plan.vocabulary import read_run_vocabulary
from ram_ray.data_engine.revisions.corrections import PROBLEMS, resolve_corrections
from ram_ray.data_engine.revisions.decision_log import (
    ADD,
    AGREED,
    BELOW_CUT,
    CAPTION,
    HUMAN,
    KEEP,
    LOG,
    NOT_JUDGED,
    REMOVE,
    decide_final,
    entry,
    flatten,
)
from ram_ray.data_engine.revisions.label_sets import IMAGES, LABELS
from ram_ray.data_engine.steps import counts_table
from ram_ray.runs.commits import Commit, commit_tables
from ram_ray.storage.stores import open_store

FILTER_KEY = "filter.json"
CORRECTIONS_KEY = "corrections.json"


class DecideLabels:
    """Decides on all labels of a shard."""

    def __init__(
        self,
        output: str,
        config: StoreConfig,
        folders: StepFolders,
        step_url: str,
        num_shards: int,
        agreed: int | None,
    ) -> None:
        self._config = config
        self._agreed = agreed
        self._plan = open_store(output, config)
        self._folders = folders
        self._store = open_store(step_url, config)
        self._vocabulary = read_run_vocabulary(self._plan)
        self._kinds = kind_codes(self._vocabulary.kinds)
        self._judge: Filter | None = None
        if self._store.exists(FILTER_KEY):
            stored = self._store.read(FILTER_KEY)
            self._judge = None if stored == b"null" else filter_from_json(stored)
        self._num_shards = num_shards
        self._corrections: dict[int, list[list[Any]]] = defaultdict(list)
        for row in json.loads(self._store.read(CORRECTIONS_KEY)):
            self._corrections[shard_of(row[0], num_shards)].append(row)

    def commit(self, shard: int) -> Commit:
        """Decide on one shard and commit it."""
        planned = read_images(self._plan, shard).to_pylist()
        images = read_shard(self._folders, shard, self._config)
        removals = self._judge_all(images)
        human, problems = resolve_corrections(
            self._corrections.get(shard, []), [row["image_id"] for row in planned], self._vocabulary
        )
        counts: Counter[Any] = Counter(images=len(planned))
        labels: list[dict[str, Any]] = []
        final: list[dict[str, Any]] = []
        for row in planned:
            image = images.get(row["image_id"], SeenImage())
            said = human.get(row["image_id"], {})
            made = [
                self._label(row, tag_id, image, removals, said)
                for tag_id in sorted({*image.mentions, *image.additions, *said})
            ]
            labels += made
            kept = [label for label in made if label["present"]]
            final.append(_image_row(row, kept, image))
        for label in labels:
            count_label(label, counts)
        for problem in problems:
            counts[f"correction_{problem['code']}"] += 1
        tables = {
            "labels": pa.Table.from_pylist(labels, LABELS),
            "images": pa.Table.from_pylist(final, IMAGES),
            "log": pa.Table.from_pylist(list(flatten(labels)), LOG),
            "problems": pa.Table.from_pylist(problems, PROBLEMS),
            "counts": counts_table(counts),
        }
        return commit_tables(
            self._store, shard, tables, tagged=len(planned), quarantined_by_code={}
        )

    def _judge_all(self, images: dict[str, SeenImage]) -> dict[Key, dict[str, Any]]:
        """Return what the filter says about each (image, tag): rule (None: kept) and numbers."""
        if self._judge is None:
            return {}
        found = collect(images)
        context = found.named.evidence(self._kinds)
        said: dict[Key, dict[str, Any]] = {}
        for rows in (found.named, found.added):
            if rows.keys:
                evidence = rows.evidence(self._kinds)
                said |= merge_rows(
                    rows, decide(self._judge, evidence, context), self._judge.promise.cut
                )
        return said

    def _label(
        self,
        row: dict[str, Any],
        tag_id: int,
        image: SeenImage,
        removals: dict[Key, dict[str, Any]],
        human: dict[int, bool],
    ) -> dict[str, Any]:
        image_id = row["image_id"]
        decisions = list(self._decisions(image_id, tag_id, image, removals, human))
        present, decided_by = decide_final(decisions)
        region = image.regions.get(tag_id)
        mention = image.mentions.get(tag_id)
        scores = image.scores or {}
        z = image.z.get(tag_id)
        kind = self._vocabulary.kinds[tag_id]
        if kind == "other" and mention is not None:
            kind = mention["kind"]
        return {
            "image_id": image_id,
            "uri": row["uri"],
            "tag_id": tag_id,
            "tag": self._vocabulary.names[tag_id],
            "kind": kind,
            "present": present,
            "decided_by": decided_by,
            "sources": [one["rule"] for one in decisions if one["action"] == ADD],
            "captions": mention["captions"] if mention else [],
            "score": scores.get(tag_id),
            "region_score": region["score"] if region else None,
            "box": region["box"] if region else None,
            "cluster_z": None if z is None or np.isnan(z) else z,
            "decisions": decisions,
        }

    def _decisions(
        self,
        image_id: str,
        tag_id: int,
        image: SeenImage,
        removals: dict[Key, dict[str, Any]],
        human: dict[int, bool],
    ) -> Any:
        """Yield the decisions about one (image, tag), in the order in which they were taken."""
        if mention := image.mentions.get(tag_id):
            words = {"captions": mention["captions"], "words": mention["surface"]}
            yield entry(CAPTION, ADD, **words, parser_rule=mention["rule"])
        if added := image.additions.get(tag_id):
            facts = {name: added[name] for name in ("score", "threshold")}
            yield entry(added["rule"], ADD, **facts, model=image.model)
        if said := removals.get((image_id, tag_id)):
            rival_id = said.pop("rival_id")
            rival_tag = self._vocabulary.names[rival_id] if rival_id >= 0 else None
            rule = said.pop("rule")
            if rule and mention and self._agreed and len(mention["captions"]) >= self._agreed:
                yield entry(AGREED, KEEP, **said, rival_tag=rival_tag, against=rule)
            else:
                action = KEEP if rule is None else REMOVE
                yield entry(rule or BELOW_CUT, action, **said, rival_tag=rival_tag)
        elif self._judge is not None and (mention or added):
            reason = "the image could not be seen" if image.scores is None else "no score"
            yield entry(NOT_JUDGED, KEEP, reason=reason)
        if tag_id in human:
            yield entry(HUMAN, ADD if human[tag_id] else REMOVE)


def merge_rows(rows: Rows, decisions: Decisions, cut: float) -> dict[Key, dict[str, Any]]:
    """Return one verdict per (image, tag): removed only where no caption that names it stands.

    The row with the least suspicion speaks for the tag.
    """
    best: dict[Key, int] = {}
    for at, key in enumerate(rows.keys):
        there = best.get(key)
        if there is None or decisions.suspicion[at] < decisions.suspicion[there]:
            best[key] = at
    said: dict[Key, dict[str, Any]] = {}
    for key, at in best.items():
        columns = {name: values[at] for name, values in rows.columns.items()}
        rule = int(decisions.rule[at])
        parts = {name: float(decisions.contributions[at, i]) for i, name in enumerate(RULES)}
        said[key] = {
            "rule": RULES[rule] if decisions.removed[at] else None,
            "suspicion": float(decisions.suspicion[at]),
            "cut": float(cut) if np.isfinite(cut) else None,
            "whole": float(columns["whole"]),
            "region": float(columns["region"]),
            "rival": float(columns["rival"]),
            "rival_id": int(columns["rival_id"]),
            "cluster_z": float(columns["cluster_z"]),
            "contributions": parts,
        }
    return said


def count_label(label: dict[str, Any], counts: Counter[Any]) -> None:
    """Count one label: in all, and per tag."""
    tag_id = label["tag_id"]
    named, added = CAPTION in label["sources"], label["sources"] != [CAPTION]
    counts["present" if label["present"] else "absent"] += 1
    counts[f"decided_by_{label['decided_by']}"] += 1
    if named:
        counts["before", tag_id] += 1
    if label["present"]:
        counts["after", tag_id] += 1
    if not named and added and label["present"]:
        counts["gained", tag_id] += 1
    if named and not label["present"]:
        counts["lost", tag_id] += 1


def _image_row(row: dict[str, Any], kept: list[dict[str, Any]], image: SeenImage) -> dict[str, Any]:
    return {
        "image_id": row["image_id"],
        "uri": row["uri"],
        "tags": [label["tag"] for label in kept],
        "tag_ids": [label["tag_id"] for label in kept],
        "captions": row["captions"],
        "generated_caption": image.caption,
    }

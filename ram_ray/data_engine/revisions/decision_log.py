"""The decision log: what was decided about each (image, tag), by which rule, on what evidence.

Append-only: a run writes its decisions, an undo appends to them. Replaying the log gives the final
labels exactly; nothing else decides.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import pyarrow as pa

from ram_ray.data_engine.config import RULES
from ram_ray.data_engine.generate.thresholds_file import GENERATED_CAPTION, GENERATED_TAG
from ram_ray.data_engine.steps.tables import IMAGE_ID, TAG_ID

ADD, REMOVE, KEEP, UNDO = "add", "remove", "keep", "undo"
CAPTION, HUMAN = "caption", "human"
BELOW_CUT, AGREED, NOT_JUDGED = "below_cut", "agreed", "not_judged"
"""Rules of a decision to keep: judged so, several captions name it, or nothing could judge it."""

ADDING_RULES = (CAPTION, GENERATED_TAG, GENERATED_CAPTION)
REMOVING_RULES = RULES
UNDOABLE = (*ADDING_RULES, *REMOVING_RULES)

LOG = pa.schema(
    [
        IMAGE_ID,
        TAG_ID,
        pa.field("tag", pa.string(), nullable=False),
        pa.field("rule", pa.string(), nullable=False),
        pa.field("action", pa.string(), nullable=False),  # add, remove, keep or undo
        pa.field("evidence", pa.string(), nullable=False),  # JSON
    ]
)
DECISION = pa.struct([LOG.field("rule"), LOG.field("action"), LOG.field("evidence")])


def entry(rule: str, action: str, **evidence: object) -> dict[str, str]:
    """Return one decision; numbers are rounded to what float32 holds."""
    rounded = {name: _round(value) for name, value in evidence.items() if value is not None}
    return {"rule": rule, "action": action, "evidence": json.dumps(rounded, ensure_ascii=False)}


def _round(value: object) -> object:
    if isinstance(value, float):
        return float(f"{value:.6g}") if value == value else None
    if isinstance(value, Mapping):
        return {name: _round(part) for name, part in value.items()}
    return value


def decide_final(decisions: Iterable[Mapping[str, str]]) -> tuple[bool, str]:
    """Return whether an image has a tag in the end, and the rule that decided it.

    A person's last word stands. Otherwise a tag needs one rule that added it and none that removed
    it; rules that were undone do not count.

    Args:
        decisions: of one (image, tag), in the order of the log.
    """
    decisions = list(decisions)
    human = [one for one in decisions if one["rule"] == HUMAN]
    if human:
        return human[-1]["action"] == ADD, HUMAN
    undone = {one["rule"] for one in decisions if one["action"] == UNDO}
    standing = [one for one in decisions if one["rule"] not in undone]
    removed = [one["rule"] for one in standing if one["action"] == REMOVE]
    if removed:
        return False, removed[0]
    added = [one["rule"] for one in standing if one["action"] == ADD]
    if added:
        return True, added[0]
    return False, next((one["rule"] for one in decisions if one["action"] == UNDO), UNDO)


def replay(tables: Iterable[pa.Table]) -> dict[tuple[str, int], bool]:
    """Return the final labels that a log gives: {(image_id, tag_id): present}.

    Args:
        tables: LOG of one shard, of every revision in order.
    """
    decisions: dict[tuple[str, int], list[dict[str, str]]] = {}
    for table in tables:
        for row in table.to_pylist():
            decisions.setdefault((row["image_id"], row["tag_id"]), []).append(row)
    return {key: decide_final(rows)[0] for key, rows in decisions.items()}


def flatten(labels: Iterable[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """Yield LOG rows of label rows with their decisions."""
    for label in labels:
        key = {name: label[name] for name in ("image_id", "tag_id", "tag")}
        for decision in label["decisions"]:
            yield key | dict(decision)

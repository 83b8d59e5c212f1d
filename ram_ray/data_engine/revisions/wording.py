"""Decisions in plain words, for `explain` and the report."""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from ram_ray.data_engine.generate.choose import WITNESSES
from ram_ray.data_engine.generate.thresholds_file import GENERATED_CAPTION, GENERATED_TAG
from ram_ray.data_engine.revisions.decision_log import (
    ADD,
    AGREED,
    BELOW_CUT,
    CAPTION,
    HUMAN,
    NOT_JUDGED,
    UNDO,
)

RULE_NAMES = {
    CAPTION: "a caption names it",
    GENERATED_TAG: "the model is sure of it",
    GENERATED_CAPTION: "the model's own caption names it",
    "improbable": "improbable in the picture",
    "region_contradiction": "its region shows something else, or none was found",
    "cluster_outlier": "its region looks unusual for the tag",
    "caption_mismatch": "the caption seems to belong to another picture",
    HUMAN: "a person decided",
    BELOW_CUT: "judged, and kept",
    AGREED: "kept, several captions name it",
    NOT_JUDGED: "kept, nothing could judge it",
    UNDO: "a rule was undone",
}


def explain_decision(decision: Mapping[str, str], captions: list[str] | None = None) -> str:
    """Return one decision as a sentence without its full stop.

    Args:
        decision: rule, action and evidence (JSON), as the log holds them.
        captions: of the image, to quote.
    """
    rule, action = decision["rule"], decision["action"]
    facts: dict[str, Any] = json.loads(decision["evidence"])
    if action == UNDO:
        return f"the rule {rule} was undone"
    if rule == CAPTION:
        return _by_caption(facts, captions)
    if rule in (GENERATED_TAG, GENERATED_CAPTION):
        extra = ", and its own caption names it" if rule == GENERATED_CAPTION else ""
        return (
            f"the model scores it {_number(facts['score'])} on the whole picture, above this "
            f"tag's threshold {_number(facts['threshold'])}{extra}"
        )
    if rule == HUMAN:
        return "a person says it is there" if action == ADD else "a person says it is not there"
    if rule == NOT_JUDGED:
        return f"kept unjudged: {facts.get('reason', 'nothing could judge it')}"
    return _judged(rule, facts)


def additions_promise(thresholds: Sequence[Mapping[str, Any]]) -> str:
    """Return what may be said about the added tags, as part of a sentence; "" without thresholds.

    Args:
        thresholds: thresholds_file.THRESHOLDS rows.
    """
    if not thresholds:
        return ""
    row = thresholds[0]
    if row.get("reason"):
        return f"nothing is added: {row['reason']}"
    by = WITNESSES[row["evidence"]]
    if row.get("kept_at_least") is None:
        return f"from {by}, unchecked"
    return (
        f"on images that they were not chosen on, by {by}, about {row['kept_precision']:.0%} of "
        f"{row['kept_additions']:,} are right, with 95 % certainty at least "
        f"{row['kept_at_least']:.0%}"
    )


def _by_caption(facts: dict[str, Any], captions: list[str] | None) -> str:
    numbers = facts["captions"]
    which = "caption" if len(numbers) == 1 else "captions"
    text = f'{which} {", ".join(str(number + 1) for number in numbers)} say "{facts["words"]}"'
    if len(numbers) == 1:
        text = text.replace(" say ", " says ")
    if captions and numbers[0] < len(captions):
        text += f": {captions[numbers[0]]}"
    return text


def _judged(rule: str, facts: dict[str, Any]) -> str:
    suspicion, cut = _number(facts["suspicion"]), _number(facts.get("cut"))
    if rule == AGREED:
        against = f"the rule {facts['against']} would remove it"
        return f"several captions name it, so it is kept, though {against}; {_seen(facts)}"
    if rule == BELOW_CUT:
        where = f"below the cut {cut}" if facts.get("cut") is not None else "and there is no cut"
        return f"judged and kept: suspicion {suspicion}, {where}; {_seen(facts)}"
    reasons = {
        "improbable": "the model finds it improbable",
        "region_contradiction": "its best region contradicts it",
        "cluster_outlier": "its region looks unlike the tag's others",
        "caption_mismatch": "the caption's other tags are improbable too",
    }
    if rule == "region_contradiction" and facts.get("region") is None:
        reasons[rule] = "nothing in the picture localises it"
    return f"{reasons.get(rule, rule)}: suspicion {suspicion}, above the cut {cut}; {_seen(facts)}"


def _seen(facts: dict[str, Any]) -> str:
    parts = [f"{_number(facts['whole'])} on the whole picture"]
    if facts.get("region") is None:
        parts.append("no region found")
    else:
        parts.append(f"{_number(facts['region'])} on its best region")
        if facts.get("rival_tag"):
            parts.append(f'"{facts["rival_tag"]}" there {_number(facts["rival"])}')
    if facts.get("cluster_z") is not None:
        parts.append(f"region {facts['cluster_z']:+.1f} deviations from the usual")
    return "scores " + ", ".join(parts)


def _number(value: float | None) -> str:
    return "none" if value is None else f"{value:.2f}"

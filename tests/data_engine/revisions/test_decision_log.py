"""What decides a label: a person, else one rule that adds and none that removes."""

import json

import pytest

from ram_ray.data_engine.revisions.decision_log import ADD, KEEP, REMOVE, UNDO, decide_final, entry

CAPTION = entry("caption", ADD)
GENERATED = entry("generated_tag", ADD)
REMOVED = entry("improbable", REMOVE)
KEPT = entry("below_cut", KEEP)


@pytest.mark.parametrize(
    ("decisions", "expected"),
    [
        ([CAPTION], (True, "caption")),
        ([CAPTION, GENERATED, KEPT], (True, "caption")),
        ([CAPTION, REMOVED], (False, "improbable")),
        ([CAPTION, REMOVED, entry("improbable", UNDO)], (True, "caption")),
        ([CAPTION, GENERATED, entry("caption", UNDO)], (True, "generated_tag")),
        ([GENERATED, KEPT, entry("generated_tag", UNDO)], (False, "generated_tag")),
        ([CAPTION, REMOVED, entry("human", ADD)], (True, "human")),
        ([CAPTION, entry("human", ADD), entry("human", REMOVE)], (False, "human")),
        ([CAPTION, entry("human", REMOVE), entry("caption", UNDO)], (False, "human")),
    ],
)
def test_the_final_label(decisions: list[dict[str, str]], expected: tuple[bool, str]) -> None:
    assert decide_final(decisions) == expected


def test_evidence_is_json_without_nan() -> None:
    made = entry("improbable", REMOVE, whole=0.123456789, region=float("nan"), rival_tag=None)
    assert json.loads(made["evidence"]) == {"whole": 0.123457, "region": None}

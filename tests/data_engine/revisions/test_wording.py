"""Every decision has a sentence that says why, with its numbers."""

from ram_ray.data_engine.revisions.decision_log import ADD, KEEP, REMOVE, UNDO, UNDOABLE, entry
from ram_ray.data_engine.revisions.wording import RULE_NAMES, explain_decision

SEEN = {"suspicion": 2.0, "cut": 1.5, "whole": 0.02, "region": 0.1, "rival": 0.6}


def test_decisions_in_words() -> None:
    said = entry("caption", ADD, captions=[0, 2], words="dogs", parser_rule="name")
    assert explain_decision(said, ["Two dogs ."]) == 'captions 1, 3 say "dogs": Two dogs .'
    added = entry("generated_tag", ADD, score=0.83, threshold=0.61)
    assert "scores it 0.83 on the whole picture, above this tag's threshold 0.61" in (
        explain_decision(added)
    )
    seen = entry("region_contradiction", REMOVE, rival_tag="cat", cluster_z=3.21, **SEEN)
    assert explain_decision(seen) == (
        "its best region contradicts it: suspicion 2.00, above the cut 1.50; scores 0.02 on the "
        'whole picture, 0.10 on its best region, "cat" there 0.60, region +3.2 deviations from the '
        "usual"
    )
    nowhere = entry("region_contradiction", REMOVE, **(SEEN | {"region": None}))
    assert explain_decision(nowhere).startswith("nothing in the picture localises it")
    kept = entry("below_cut", KEEP, **(SEEN | {"cut": None}))
    assert "judged and kept: suspicion 2.00, and there is no cut" in explain_decision(kept)
    assert explain_decision(entry("improbable", UNDO)) == "the rule improbable was undone"


def test_every_rule_has_a_name() -> None:
    assert set(UNDOABLE) <= set(RULE_NAMES)

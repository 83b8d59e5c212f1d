"""The table of the report that says what each step did."""

from collections import Counter
from html import escape
from typing import Any

from ram_ray.data_engine.report.data import ReportData
from ram_ray.data_engine.revisions.decision_log import CAPTION, REMOVING_RULES
from ram_ray.data_engine.revisions.wording import additions_promise


def steps_table(data: ReportData) -> str:
    """Return the rows of the table: step, what it did, what came out, its cost per image."""
    rows = [("parse", *_parse_row(data)), ("generate", *_generate_row(data))]
    rows += [("locate", *_locate_row(data)), ("cluster", *_cluster_row(data))]
    rows.append(("filter", *_filter_row(data)))
    return "".join(
        f"<tr><th>{name}</th><td>{escape(what)}</td><td>{escape(result)}</td>"
        f'<td class="number">{escape(cost)}</td></tr>'
        for name, what, result, cost in rows
    )


_OFF = ("off", "", "0")


def _parse_row(data: ReportData) -> tuple[str, str, str]:
    parsed = data.steps["parsed"]
    what = f"{parsed['captions']:,} captions of {data.plan['images']:,} images read"
    result = f"{parsed['tags']:,} tags; {parsed['captions_without_tags']:,} captions name none"
    if data.plan["without_captions"]:
        result += f"; {data.plan['without_captions']:,} images have no caption"
    return what, result, "0"


def _generate_row(data: ReportData) -> tuple[str, str, str]:
    seen = data.steps.get("seen")
    if seen is None:
        return _OFF
    images = max(1, seen["images"])
    cost = f"{seen['model_passes'] / images:.0f}"
    added = data.steps.get("added")
    if added is None:
        return f"{seen['images']:,} images scored, nothing generated", "", cost
    facts = data.revision.facts
    what = f"{seen['images']:,} images scored; thresholds for {facts['target_precision']:.0%} "
    what += f"right additions; {additions_promise(data.thresholds)}"
    allowed = sum(row["threshold"] < 1 for row in data.thresholds)
    result = (
        f"{total_of(added, 'added'):,} tags added on {added['images_with_additions']:,} images; "
    )
    result += f"{allowed:,} of {len(data.thresholds):,} tags may be added"
    return what, result, cost


def _locate_row(data: ReportData) -> tuple[str, str, str]:
    located = data.steps.get("located")
    if located is None:
        return _OFF
    cost = f"{located['model_passes'] / max(1, located['images']):.0f}"
    bad = {name[7:]: n for name, n in located.items() if str(name).startswith("region_")}
    unusable = ", ".join(f"{n:,} {name.replace('_', ' ')}" for name, n in sorted(bad.items()))
    result = f"unusable regions: {unusable}" if unusable else "every region usable"
    return f"regions by {data.revision.facts['locator']}, in the same pass", result, cost


def _cluster_row(data: ReportData) -> tuple[str, str, str]:
    judged = data.steps.get("judged")
    if judged is None:
        return _OFF
    result = f"{judged['outliers']:,} look unusual for their tag"
    return f"{judged['regions']:,} regions judged", result, "0"


def _filter_row(data: ReportData) -> tuple[str, str, str]:
    labels = data.steps["labels"]
    if not data.revision.facts["filter_on"]:
        return _OFF
    kept = labels[f"decided_by_{CAPTION}"]
    what = "nothing to learn from" if data.filter is None else _fitted(data.filter)
    return what, f"{num_removed(data):,} tags removed, {kept:,} of the captions' kept", "0"


def _fitted(facts: dict[str, Any]) -> str:
    text = f"learned on {facts['num_named']:,} named and {facts['num_wrong']:,} foreign tags; "
    if facts["precision"] != facts["precision"]:  # no cut: neither are its estimates to be trusted
        return text + "not sure enough of any removal"
    text += f"at least {facts['precision']:.0%} of removals right and at most "
    text += f"{facts['over_removal']:.1%} of right tags lost, {_CHECKED[facts['checked_by']]}; "
    text += f"about {facts['wrong_share']:.1%} of named tags wrong, "
    return text + f"{facts['swapped_share']:.0%} of them in swapped captions"


_CHECKED = {
    "trusted": "checked by trusted labels",
    "agreement": "checked by the images' other captions",
    "nobody": "checked by nobody",
}


def num_removed(data: ReportData) -> int:
    """Return how many tags the filter's rules removed."""
    return sum(data.steps["labels"][f"decided_by_{rule}"] for rule in REMOVING_RULES)


def total_of(counts: Counter[Any], name: str) -> int:
    """Return the sum over tags of one of a step's counts."""
    return sum(value for key, value in counts.items() if isinstance(key, tuple) and key[0] == name)

"""report.html of an engine run: needs no server, no network, no other file; all text is escaped."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from ram_ray import __version__
from ram_ray.data_engine.report.data import Example, ReportData
from ram_ray.data_engine.report.notes import notes_of
from ram_ray.data_engine.report.steps import steps_table, total_of
from ram_ray.data_engine.revisions.decision_log import (
    BELOW_CUT,
    HUMAN,
    NOT_JUDGED,
)
from ram_ray.data_engine.revisions.wording import RULE_NAMES, explain_decision

MAX_TAGS = 60
"""Rows of the table of tags; those that changed most."""


def render(data: ReportData, pictures: Sequence[str | None]) -> str:
    """Return the page; `pictures` are data URIs of the added and then the removed examples."""
    page = files("ram_ray.data_engine.report").joinpath("report.html").read_text(encoding="utf-8")
    facts = data.revision.facts
    shown = iter(pictures)
    return Template(page).substitute(
        title=escape(f"Data engine: {facts['source']}"),
        heading=_heading(data),
        subtitle=f"from <code>{escape(str(facts['source']))}</code>, revision "
        f"{data.revision.number} ({escape(data.revision.made_by)})",
        tiles=_tiles(data),
        notes=notes_of(data),
        steps=steps_table(data),
        added=_cards(data.added, shown, "No tag was added in the part that examples come from."),
        removed=_cards(data.removed, shown, "No tag was removed."),
        rules=_rules(data),
        tags=_tags(data),
        problems=_problems(data),
        footer=escape(f"Written by ram-ray {__version__}, {data.revision.created_at}."),
    )


def _heading(data: ReportData) -> str:
    labels = data.steps["labels"]
    before, after = total_of(labels, "before"), labels["present"]
    return f"{before:,} tags from captions became {after:,} labels"


def _tiles(data: ReportData) -> str:
    labels = data.steps["labels"]
    images = max(1, data.plan["images"])
    before, after = total_of(labels, "before"), labels["present"]
    unseen = sum(data.unseen_by_code.values())
    tiles = [
        ("", "Images", f"{data.plan['images']:,}"),
        ("", "Tags per image before", f"{before / images:.1f}"),
        ("", "after", f"{after / images:.1f}"),
        ("good", "Added", _signed(total_of(labels, "gained"), "+") or "0"),
        ("bad", "Removed", _signed(total_of(labels, "lost"), "&minus;") or "0"),
    ]
    if unseen:
        tiles.append(("bad", "Not seen", f"{unseen:,}"))
    if decided := labels[f"decided_by_{HUMAN}"]:
        tiles.append(("", "By a person", f"{decided:,}"))
    return "".join(
        f'<div class="{kind}"><dt>{name}</dt><dd>{value}</dd></div>' for kind, name, value in tiles
    )


def _rules(data: ReportData) -> str:
    labels = data.steps["labels"]
    decided = [
        (name, count)
        for name in RULE_NAMES
        if (count := labels[f"decided_by_{name}"]) and name not in (BELOW_CUT, NOT_JUDGED)
    ]
    return "".join(
        f"<tr><td><code>{escape(name)}</code></td><td>{escape(RULE_NAMES[name])}</td>"
        f'<td class="number">{count:,}</td></tr>'
        for name, count in decided
    )


def _tags(data: ReportData) -> str:
    labels = data.steps["labels"]
    thresholds = {row["tag_id"]: row for row in data.thresholds if row["rule"] == "generated_tag"}
    keys = {key[1] for key in labels if isinstance(key, tuple)}
    tag_ids = {one for one in keys if labels["gained", one] or labels["lost", one]}
    if not tag_ids:
        return '<tr><td class="empty" colspan="7">No tag changed.</td></tr>'

    def change(tag_id: int) -> tuple[int, int, int]:
        moved = labels["gained", tag_id] + labels["lost", tag_id]
        return -moved, -labels["before", tag_id], tag_id

    rows: list[str] = []
    for tag_id in sorted(tag_ids, key=change)[:MAX_TAGS]:
        row = thresholds.get(tag_id)
        limit = "" if row is None else "never" if row["threshold"] >= 1 else _two(row["threshold"])
        precision = "" if row is None or row["threshold"] >= 1 else f"{row['precision']:.0%}"
        rows.append(
            f"<tr><td>{escape(data.names.get(tag_id, str(tag_id)))}</td>"
            + "".join(
                f'<td class="number {kind}">{_signed(labels[name, tag_id], sign)}</td>'
                for name, kind, sign in (
                    ("before", "", ""),
                    ("gained", "gain", "+"),
                    ("lost", "loss", "&minus;"),
                    ("after", "", ""),
                )
            )
            + f'<td class="number">{limit}</td><td class="number">{precision}</td></tr>'
        )
    return "".join(rows)


def _signed(count: int, sign: str) -> str:
    return f"{sign}{count:,}" if count or not sign else ""


def _two(value: float) -> str:
    return f"{value:.2f}"


def _cards(examples: "list[Example]", pictures: Any, nothing: str) -> str:
    cards = [_card(example, next(pictures)) for example in examples]
    return "".join(cards) or f'<p class="empty">{escape(nothing)}</p>'


def _card(example: Example, picture: str | None) -> str:
    label = example.label
    image_id = escape(label["image_id"])
    shown = (
        f'<img src="{picture}" alt="{image_id}">'
        if picture
        else '<span class="lost">cannot be shown any more</span>'
    )
    kind, sign = ("gain", "+") if label["present"] else ("loss", "&minus;")
    deciding = [one for one in label["decisions"] if one["rule"] == label["decided_by"]]
    why = explain_decision(deciding[-1]) if deciding else label["decided_by"]
    captions = "".join(f"<li>{escape(text)}</li>" for text in example.captions[:5])
    box = "" if label["box"] is None or not picture else _box(label["box"])
    return (
        f'<article class="card"><div class="picture"><div class="frame">{shown}{box}</div></div>'
        f'<h3 class="{kind}">{sign} {escape(label["tag"])} '
        f'<span class="rule">{escape(label["decided_by"])}</span></h3>'
        f'<p class="why">{escape(why)}</p><ul>{captions}</ul>'
        f'<p class="name" title="{image_id}"><bdi>{image_id}</bdi></p></article>'
    )


def _box(box: Sequence[float]) -> str:
    left, top, right, bottom = (100 * side for side in box)
    style = f"left:{left:.1f}%;top:{top:.1f}%;width:{right - left:.1f}%;height:{bottom - top:.1f}%"
    return f'<i class="box" style="{style}"></i>'


def _problems(data: ReportData) -> str:
    if not data.problems:
        return ""
    rows = "".join(
        f"<tr><td>{escape(what)}</td><td>{escape(where)}</td><td>{escape(why)}</td></tr>"
        for what, where, why in data.problems
    )
    counts = {
        "caption lines that could not be read": data.plan["problems"],
        "captions whose image is not there": data.plan["orphans"],
    }
    counts |= {f"images not seen ({code})": n for code, n in sorted(data.unseen_by_code.items())}
    text = ", ".join(f"{count:,} {what}" for what, count in counts.items() if count)
    return (
        f'<h2>What could not be used</h2><p class="lead">{escape(text)}</p>'
        '<div class="scroll"><table><tr><th>What</th><th>Where</th><th>Why</th></tr>'
        f"{rows}</table></div>"
    )

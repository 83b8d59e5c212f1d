"""evaluation.html: the figures of a run for people; needs no network, every text escaped."""

from collections.abc import Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from ram_ray import __version__
from ram_ray.evaluation.curves import (
    Points,
    precision_over_recall,
    reliability,
    score_histogram,
)
from ram_ray.evaluation.limits_page import limits_section
from ram_ray.evaluation.scored import ScoredImages

SIDE = 240  # of a plot, in its own units


def render(scored: ScoredImages, figures: dict[str, Any]) -> str:
    """Return the page of `measures.measure`'s figures."""
    labels, scores = scored.labels, scored.scores
    known, reference = (figures["map"][n] for n in ("known_labels_only", "reference_protocol"))
    template = Template(files("ram_ray.evaluation").joinpath("page.html").read_text("utf-8"))
    return template.substitute(
        model=escape(figures["model"]),
        images=f"{figures['images']:,}",
        tags=f"{figures['tags']:,}",
        known=f"{figures['known_labels']:,}",
        map=_percent(known["value"]),
        map_interval=_interval(known["interval"]),
        reference=_percent(reference["value"]),
        reference_interval=_interval(reference["interval"]),
        prior=_percent(figures["map"]["prior"]),
        calibration_error=_percent(figures["calibration_error"]),
        decisions=_decisions(figures),
        groups=_groups(figures),
        notes=_notes(figures),
        baselines=_baselines(figures),
        limits=limits_section(figures["limits"]),
        curve=_plot(precision_over_recall(labels, scores), "recall", "precision"),
        reliability=_plot(reliability(labels, scores), "score", "share right", diagonal=True),
        histogram=_histogram(score_histogram(labels, scores)),
        rows="\n".join(_row(tag) for tag in figures["per_tag"]),
        version=escape(__version__),
    )


def _decisions(figures: dict[str, Any]) -> str:
    lines = []
    for title, key in (("the model's thresholds", "at_thresholds"), ("0.5 for all", "at_0.5")):
        found = figures[key]
        names = ("class_precision", "class_recall", "class_f1", "overall_precision")
        names += ("overall_recall", "overall_f1")
        cells = "".join(f"<td>{_percent(found[name])}</td>" for name in names)
        lines.append(f"<tr><th>{title}</th>{cells}<td>{found['tags_per_image']:.1f}</td></tr>")
    return "\n".join(lines)


def _baselines(figures: dict[str, Any]) -> str:
    known, prior = figures["map"]["known_labels_only"], figures["map"]["prior"]
    rows = [("the model", _percent(known["value"]), _interval(known["interval"]), "")]
    for baseline in figures["baselines"]:
        found, lead = baseline["map"], baseline["model_lead"]
        points = f"{lead['value'] * 100:+.1f} ({_interval(lead['interval'])})"
        row = (_percent(found["value"]), _interval(found["interval"]), points)
        rows.append((baseline["name"], *row))
    rows.append(("frequency of each tag", _percent(prior), "", ""))
    return "\n".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{cell}</td>' for cell in row[1:])}</tr>"
        for row in rows
    )


def _groups(figures: dict[str, Any]) -> str:
    lines = []
    for title, key in (("", "by_kind"), (" positives", "by_positives")):
        for name, group in figures[key].items():
            cells = f"<td>{group['tags']}</td><td>{_percent(group['map'])}</td>"
            cells += f"<td>{_percent(group['prior'])}</td>"
            lines.append(f"<tr><th>{escape(name + title)}</th>{cells}</tr>")
    return "\n".join(lines)


def _notes(figures: dict[str, Any]) -> str:
    notes = []
    if figures["score_floor"] > 0:
        notes.append(
            f"Scores below {figures['score_floor']:g} were not kept and count as 0 (tied last)."
        )
    for key, text in (
        ("images_without_labels", "{} images of the run have no labels."),
        ("labelled_images_not_tagged", "{} labelled images were not tagged."),
    ):
        if figures[key]:
            notes.append(text.format(f"{figures[key]:,}"))
    for key, text in (
        ("names_without_tag", "No tag of the model"),
        ("names_switched_off", "Switched off in the model"),
    ):
        if figures[key]:
            notes.append(f"{text}: {', '.join(figures[key])}.")
    return "\n".join(f"<li>{escape(note)}</li>" for note in notes)


def _row(tag: dict[str, Any]) -> str:
    numbers = [tag["positives"], tag["negatives"]]
    cells = "".join(f'<td data-v="{number}">{number:,}</td>' for number in numbers)
    for name in ("average_precision", "precision", "recall"):
        value = tag[name]
        shown = "" if value is None else _percent(value)
        cells += f'<td data-v="{-1 if value is None else value}">{shown}</td>'
    cells += f'<td data-v="{tag["threshold"]}">{tag["threshold"]:.2f}</td>'
    cells += f'<td data-v="{tag["given"]}">{tag["given"]:,}</td>'
    return f"<tr><th>{escape(tag['name'])}</th><td>{escape(tag['kind'])}</td>{cells}</tr>"


def _plot(points: Points, x_title: str, y_title: str, *, diagonal: bool = False) -> str:
    line = " ".join(f"{x * SIDE:.1f},{(1 - y) * SIDE:.1f}" for x, y in points)
    marks = ""
    if diagonal:
        marks = f'<path class="ideal" d="M0 {SIDE}L{SIDE} 0"/>'
        marks += "".join(
            f'<circle cx="{x * SIDE:.1f}" cy="{(1 - y) * SIDE:.1f}" r="3.5"/>' for x, y in points
        )
    return _frame(f'{marks}<polyline points="{line}"/>', x_title, y_title)


def _histogram(shares: dict[str, list[float]]) -> str:
    highest = max(max(share, default=0) for share in shares.values()) or 1
    width = SIDE / len(shares["present"]) / 2
    bars = []
    for offset, (name, share) in enumerate(shares.items()):
        bars += [
            f'<rect class="{name}" x="{(2 * place + offset) * width:.1f}" '
            f'y="{SIDE - value / highest * SIDE:.1f}" width="{width:.1f}" '
            f'height="{value / highest * SIDE:.1f}"/>'
            for place, value in enumerate(share)
        ]
    return _frame("".join(bars), "score", f"share of labels, up to {_percent(highest)}")


def _frame(content: str, x_title: str, y_title: str) -> str:
    grid = "".join(
        f'<path class="grid" d="M{at} 0V{SIDE}M0 {at}H{SIDE}"/>'
        for at in (SIDE // 4, SIDE // 2, 3 * SIDE // 4)
    )
    return (
        f'<svg viewBox="-34 -10 {SIDE + 48} {SIDE + 46}" role="img" '
        f'aria-label="{escape(y_title)} over {escape(x_title)}">{grid}'
        f'<path class="axis" d="M0 0V{SIDE}H{SIDE}"/>{content}'
        f'<text x="{SIDE / 2}" y="{SIDE + 30}">{escape(x_title)}</text>'
        f'<text x="0" y="{SIDE + 14}">0</text><text x="{SIDE}" y="{SIDE + 14}">1</text>'
        f'<text transform="translate(-20 {SIDE / 2}) rotate(-90)">{escape(y_title)}</text></svg>'
    )


def _percent(value: float) -> str:
    return f"{value * 100:.1f} %"


def _interval(ends: Sequence[float]) -> str:
    return f"{ends[0] * 100:.1f} to {ends[1] * 100:.1f}"

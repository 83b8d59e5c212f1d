"""The limits of a model as three parts of evaluation.html; every text escaped."""

from collections.abc import Iterable
from html import escape
from typing import Any

_MOST_PAIRS = 20


def limits_section(limits: dict[str, Any]) -> str:
    """Return the HTML of `limits.measure_limits`' figures."""
    parts = (_numbers(limits["numbers"]), _siblings(limits["siblings"]), _bias(limits["bias"]))
    return "\n".join(parts)


def _numbers(numbers: list[dict[str, Any]]) -> str:
    if not numbers:
        return "<p>Numbers: the labels and the model share no number word.</p>"
    rows = [
        (
            n["name"],
            f"{n['positives']:,}",
            _percent(n["average_precision"]),
            _interval(n["interval"]),
            _percent(n["prior"]),
        )
        for n in numbers
    ]
    text = "Numbers: taggers hardly count. The last column is what guessing is worth."
    return _table(text, ("word", "images", "AP", "95 % interval", "frequency prior"), rows)


def _siblings(siblings: dict[str, Any]) -> str:
    pairs = siblings["pairs"]
    if not pairs:
        return "<p>Similar tags: no two of them stand alone in enough images.</p>"
    rows = [
        (
            " or ".join(pair["names"]),
            f"{pair['images']:,}",
            _percent(pair["told_apart"]),
            _interval(pair["interval"]),
        )
        for pair in pairs[:_MOST_PAIRS]
    ]
    text = (
        "Similar tags: of two images that show one of the two each, the model leans to the right "
        f"one in {_percent(siblings['told_apart'])} ({_interval(siblings['interval'])}), mean of "
        f"{len(pairs)} pairs of tags; 50 % is guessing. The worst:"
    )
    return _table(text, ("pair", "images", "told apart", "95 % interval"), rows)


def _bias(bias: dict[str, Any]) -> str:
    activities = bias["activities"]
    if not activities:
        return "<p>Bias: too few images show a man or a woman in an activity.</p>"
    rows = [
        (
            a["name"],
            f"{a['men']:,}",
            f"{a['women']:,}",
            _percent(a["labels"]),
            "" if a["predictions"] is None else _percent(a["predictions"]),
        )
        for a in activities
    ]
    text = (
        "Bias: share of women among the images of an activity that show a man or a woman. The "
        f"model moves it by {bias['amplification'] * 100:+.1f} points "
        f"({_interval(bias['interval'])}) towards the more frequent of the two, mean of "
        f"{len(activities)} activities; above 0 it exaggerates."
    )
    head = ("activity", "men", "women", "women, labels", "women, model")
    return _table(text, head, rows)


def _table(text: str, head: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    top = "".join(f"<th>{escape(title)}</th>" for title in head)
    body = "\n".join(
        f"<tr><th>{escape(row[0])}</th>{''.join(f'<td>{escape(cell)}</td>' for cell in row[1:])}"
        "</tr>"
        for row in rows
    )
    return (
        f'<p>{escape(text)}</p>\n<div class="scroll"><table><thead><tr>{top}</tr></thead><tbody>\n'
        f"{body}\n</tbody></table></div>"
    )


def _percent(value: float) -> str:
    return f"{value * 100:.1f} %"


def _interval(ends: list[float] | None) -> str:
    return "unknown" if ends is None else f"{ends[0] * 100:.1f} to {ends[1] * 100:.1f}"

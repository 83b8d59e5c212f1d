"""The contact sheet: one HTML file with pictures, their tags, and what was quarantined.

It needs no server, no network and no other file; every text in it is escaped.
"""

import base64
import hashlib
import math
from collections.abc import Iterable, Sequence
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

from ram_ray import __version__
from ram_ray.config import StoreConfig
from ram_ray.images.thumbnails import thumbnails
from ram_ray.storage.stores import open_store
from ram_ray.tagging.outputs.run_output import RunOutput, read_run_output

MAX_CHIPS = 40  # frequent tags offered as buttons
TAGS_PER_CARD = 40  # kept in the page; the first few are shown until asked for more

Credit = tuple[str, str, str]
"""What is shown, whom to credit, licence."""


def write_contact_sheet(
    output: str,
    store: StoreConfig,
    max_images: int = 120,
    *,
    notes: Sequence[str] = (),
    credits: Sequence[Credit] = (),
) -> str:
    """Write `report.html` into the OUTPUT of a run and return where it is.

    Args:
        output: what `ram-ray tag` wrote: a folder or an s3:// prefix.
        store: how to reach the output and the images.
        max_images: pictures on the page, spread evenly over the run; about 15 kB each.
        notes: sentences shown above the pictures.
        credits: whom to credit for the pictures.

    Raises:
        ConfigError: the output holds no results.
        UnreachableError: the output cannot be read or written, or the images are out of reach.
    """
    opened = open_store(output, store)
    run_output = read_run_output(opened, max_images=max_images)
    pictures = thumbnails([row["uri"] for row in run_output.images], store)
    page = render(run_output, pictures, output=output, notes=notes, credits=credits)
    opened.write("report.html", page.encode())
    return f"{output.rstrip('/')}/report.html"


def render(
    run_output: RunOutput,
    pictures: Sequence[str | None],
    *,
    output: str,
    notes: Sequence[str] = (),
    credits: Sequence[Credit] = (),
) -> str:
    """Return the page; `pictures` are data URIs, parallel to `run_output.images`."""
    folder = files("ram_ray.tagging.outputs")
    script = folder.joinpath("contact_sheet.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    lowest = min((min(row["scores"]) for row in run_output.images if row["scores"]), default=0.0)
    source = _run_fact(run_output, "source")
    cards = zip(run_output.images, pictures, strict=True)
    return Template(folder.joinpath("contact_sheet.html").read_text(encoding="utf-8")).substitute(
        script=script,
        script_hash=f"sha256-{digest}",
        title=escape(f"Tags of {source or output}"),
        heading=f"{run_output.num_tagged:,} tagged pictures",
        subtitle=_subtitle(source, output),
        facts=_facts(run_output),
        notes=_notes(notes),
        lowest=f"{math.floor(lowest * 100) / 100:.2f}",
        chips=_chips(run_output),
        cards="\n".join(_card(row, picture) for row, picture in cards),
        quarantine=_quarantine(run_output),
        credits=_credits(credits),
        footer=_footer(run_output),
    )


def _subtitle(source: str, output: str) -> str:
    results = f"results in <code>{escape(output)}</code>"
    return f"from <code>{escape(source)}</code>, {results}" if source else results


def _notes(notes: Sequence[str]) -> str:
    lines = "<br>".join(escape(note) for note in notes)
    return f'<p class="note">{lines}</p>' if lines else ""


def _facts(run_output: RunOutput) -> str:
    num_images = run_output.num_tagged + run_output.num_quarantined
    share = run_output.num_quarantined / num_images if num_images else 0.0
    num_tags = sum(count for _, count in run_output.tag_counts)
    facts = [
        ("", "Images", f"{num_images:,}"),
        ("bad" if run_output.num_quarantined else "", "Quarantined",
         f"{run_output.num_quarantined:,} ({share:.1%})"),
        ("", "Different tags", f"{len(run_output.tag_counts):,}"),
        ("", "Tags per image", f"{num_tags / max(1, run_output.num_counted):.1f}"),
    ]  # fmt: skip
    if model := _run_fact(run_output, "model_id"):
        facts.append(("wide", "Model", model))
    return "".join(
        f'<div class="{kind}"><dt>{name}</dt><dd>{escape(value)}</dd></div>'
        for kind, name, value in facts
    )


def _run_fact(run_output: RunOutput, name: str) -> str:
    """Return a fact of run.json, wherever it stands: at the top or under `config`."""
    run = run_output.run
    value = run.get(name) or run.get("config", {}).get(name)
    return str(value) if value else ""


def _chips(run_output: RunOutput) -> str:
    return "".join(
        f'<li><button type="button" data-tag="{escape(tag)}" aria-pressed="false">'
        f"{escape(tag)}<span>{count:,}</span></button></li>"
        for tag, count in run_output.tag_counts[:MAX_CHIPS]
    )


def _card(row: dict[str, Any], picture: str | None) -> str:
    name = escape(row["image_id"])
    size = f"{row['width']} x {row['height']} px"
    shown = (
        f'<img src="{picture}" alt="{name}" loading="lazy">'
        if picture
        else '<span class="lost">cannot be shown any more</span>'
    )
    caption = row.get("caption")  # of runs with --caption only
    said = f'<p class="caption">{escape(caption)}</p>' if caption else ""
    scored = zip(row["tags"][:TAGS_PER_CARD], row["scores"], strict=False)
    rows = "".join(_tag_row(tag, score) for tag, score in scored)
    return (
        f'<article class="card" data-name="{name}"><div class="picture">{shown}</div>'
        f'<h3 title="{name}, {size}"><bdi>{name}</bdi></h3>{said}<ul>{rows}</ul>'
        f'<p class="none"{" hidden" * bool(row["tags"])}>no tag reaches the threshold</p>'
        '<button type="button" class="more" hidden></button></article>'
    )


def _tag_row(tag: str, score: float) -> str:
    return (
        f'<li data-tag="{escape(tag)}" data-score="{score:.4f}"><span title="{escape(tag)}">'
        f'{escape(tag)}</span><span class="bar"><i style="width:{score:.0%}"></i></span>'
        f"<b>{score:.2f}</b></li>"
    )


def _quarantine(run_output: RunOutput) -> str:
    if not run_output.num_quarantined:
        return ""
    rows = "".join(
        f'<tr><td>{escape(row["image_id"])}</td><td><span class="code">'
        f"{escape(row['error_code'])}</span></td><td>{escape(row['message'])}</td>"
        f'<td class="number">{_bytes(row["size_bytes"])}</td></tr>'
        for row in run_output.quarantine
    )
    rest = run_output.num_quarantined - len(run_output.quarantine)
    by_code = ", ".join(
        f"{count:,} {code}" for code, count in run_output.quarantined_by_code.items()
    )
    more = f"<p>and {rest:,} more in <code>quarantine/</code> ({escape(by_code)})</p>"
    return (
        '<h2>Quarantined</h2><div class="scroll"><table><tr><th>Image</th><th>Reason</th>'
        f'<th>In words</th><th class="number">Size</th></tr>{rows}</table></div>'
        f"{more if rest > 0 else ''}"
    )


def _credits(credits: Iterable[Credit]) -> str:
    rows = "".join(
        f"<tr><td>{escape(title)}</td><td>{escape(author)}</td><td>{escape(licence)}</td></tr>"
        for title, author, licence in credits
    )
    if not rows:
        return ""
    return (
        '<h2>Credits</h2><div class="scroll"><table><tr><th>Picture</th><th>By</th>'
        f"<th>Licence</th></tr>{rows}</table></div>"
    )


def _footer(run_output: RunOutput) -> str:
    shown, tagged = len(run_output.images), run_output.num_tagged
    parts = [f"Written by ram-ray {__version__}."]
    if shown < tagged:
        parts.append(f"Shows {shown:,} of {tagged:,} pictures, evenly spread.")
    if run_output.num_counted < tagged:
        parts.append(f"Tag counts are over {run_output.num_counted:,} of them.")
    parts.append("Pictures lie as they are stored, whatever EXIF says.")
    return escape(" ".join(parts))


def _bytes(size_bytes: int) -> str:
    if size_bytes < 1024:
        return f"{size_bytes} B"
    if size_bytes < 2**20:
        return f"{size_bytes / 1024:.0f} kB"
    return f"{size_bytes / 2**20:.1f} MB"

"""The review page: one HTML file to search the tags, see why they are what they are, and decide.

It needs no server, no network and no other file; every text in it is escaped.
"""

import base64
import hashlib
import json
from collections import Counter
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template

from ram_ray import __version__
from ram_ray.labels.builder.candidates import CAPTIONS
from ram_ray.labels.builder.coverage import Coverage
from ram_ray.labels.builder.names import fold
from ram_ray.labels.builder.result import Build

MAX_DROPPED = 3_000  # most valuable first; the rest is one-off words
MAX_MISSING = 400  # names shown of what a list misses


def review_page(build: Build) -> str:
    """Return the page of a build; the same build gives the same page."""
    folder = files("ram_ray.labels.builder")
    script = folder.joinpath("review.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    data = json.dumps(_data(build), ensure_ascii=False, separators=(",", ":"))
    return Template(folder.joinpath("review.html").read_text(encoding="utf-8")).substitute(
        script=script,
        script_hash=f"sha256-{digest}",
        num_tags=f"{len(build.tags):,}",
        subtitle=_subtitle(build),
        facts="".join(_facts(build)),
        coverage="\n".join(map(_coverage_row, build.coverage)),
        tabs="".join(_tabs(build)),
        footer=f"Made by ram-ray {escape(__version__)}.",
        # "</script>" and "<!--" in a name must not end the data
        data=data.replace("<", "\\u003c"),
    )


def _data(build: Build) -> dict[str, object]:
    names = [row.name for row in build.rows]
    tags = [
        {
            "id": number,
            "name": row.name,
            "kind": row.kind,
            "aliases": [list(alias) for alias in row.tag.aliases],
            "parents": [names[parent] for parent in build.parents[number]],
            "sources": row.tag.sources,
            "frequency": row.tag.frequency,
        }
        for number, row in enumerate(build.rows)
        if row.tag is not None
    ]
    repeated = [name for name, count in Counter(map(fold, names)).items() if count > 1]
    dropped = [
        {"name": one.tag.name, "kind": one.tag.kind, "why": one.why, "sources": one.tag.sources}
        for one in build.dropped[:MAX_DROPPED]
    ]
    proposals = [
        {"name": one.name.text, "other": one.other.text, "why": one.why} for one in build.proposals
    ]
    return {
        "build": hashlib.sha256("\n".join(names).encode()).hexdigest()[:12],
        "kinds": sorted({tag.kind for tag in build.tags}),
        "sources": [CAPTIONS, *(one.list_name for one in build.coverage)],
        "repeated": repeated,
        "tags": tags,
        "proposals": proposals,
        "dropped": dropped,
        "problems": _problems(build),
    }


def _problems(build: Build) -> list[str]:
    unknown = [f"decisions, {sentence}" for sentence in build.unknown_names]
    return unknown + [str(problem) for problem in build.problems]


def _subtitle(build: Build) -> str:
    lists = len(build.coverage)
    sources = [f"{lists} list{'s' if lists != 1 else ''}"]
    if build.num_captions:
        sources.insert(0, f"{build.num_captions:,} captions")
    return f"Built from {' and '.join(sources)}."


def _facts(build: Build) -> Iterable[str]:
    kinds = Counter(tag.kind for tag in build.tags)
    facts = [(f"{kind}s", count) for kind, count in kinds.most_common()]
    facts.append(("other names", sum(len(tag.aliases) for tag in build.tags)))
    retired = len(build.rows) - len(build.tags)
    facts += [("retired", retired)] if retired else []
    for label, count in facts:
        yield f"<div><dt>{escape(label)}</dt><dd>{count:,}</dd></div>"


def _coverage_row(one: Coverage) -> str:
    missing = [escape(name) for name in one.missing[:MAX_MISSING]]
    rest = len(one.missing) - len(missing)
    text = ", ".join(missing) + (f", and {rest:,} more" if rest else "")
    percent = _percent(one.share)
    return (
        f"<details><summary><span>{escape(one.list_name)}</span>"
        f'<span class="bar"><i style="width:{100 * one.share:.2f}%"></i></span>'
        f'<span class="number soft">{one.num_covered:,} of {one.num_entries:,}</span>'
        f'<b class="number">{percent}</b></summary>'
        f"<p>{'Missing: ' + text if missing else 'Nothing is missing.'}</p></details>"
    )


def _percent(share: float) -> str:
    """Return a share as percentage that shows 100 only where nothing is missing."""
    return "100%" if share == 1 else f"{min(99.9, 100 * share):.1f}%"


def _tabs(build: Build) -> Iterable[str]:
    dropped = len(build.dropped)
    tabs = [
        ("tags", "Tags", f"{len(build.tags):,}"),
        ("merged", "Merged", f"{sum(len(tag.aliases) for tag in build.tags):,}"),
        ("proposals", "Same thing?", f"{len(build.proposals):,}"),
        ("dropped", "Not kept", f"{dropped:,}"),
        ("problems", "Problems", f"{len(_problems(build)):,}"),
    ]
    for key, label, count in tabs:
        selected = "true" if key == "tags" else "false"
        yield (
            f'<button role="tab" data-tab="{key}" aria-selected="{selected}">'
            f"{label}<span>{count}</span></button>"
        )

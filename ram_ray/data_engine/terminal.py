"""What `ram-ray engine` prints."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rich.console import Console
from rich.table import Table
from rich.text import Text

from ram_ray.console.progress import format_duration
from ram_ray.console.terminal import printable
from ram_ray.data_engine.revisions.wording import RULE_NAMES, explain_decision
from ram_ray.data_engine.steps import OnProgress, StepProgress

if TYPE_CHECKING:
    from ram_ray.data_engine.engine import EngineResult
    from ram_ray.data_engine.explain import Explanation, RunDiff
    from ram_ray.data_engine.undo import UndoResult

EVERY_S = 5.0
"""Time between two lines of progress of one step."""
SHOWN = 15
"""Rows of a list; the rest is counted."""


@contextmanager
def step_progress() -> Iterator[OnProgress]:
    """Give a function that prints a line to stderr when a step starts, moves on and ends."""
    last: dict[str, float] = {}

    def tell(progress: StepProgress) -> None:
        now = time.monotonic()
        ended = progress.total > 0 and progress.done == progress.total
        if not ended and now - last.get(progress.step, 0) < EVERY_S:
            return
        if last.get(f"{progress.step} ended"):
            return
        last[progress.step] = now
        if ended:
            last[f"{progress.step} ended"] = now
        of = f" of {progress.total:,} shards" if progress.total else " images and captions listed"
        print(f"{progress.step:<9} {progress.done:,}{of}", file=sys.stderr, flush=True)

    yield tell


def print_result(result: "EngineResult") -> None:
    """Print counts of a finished run and what to do next."""
    console = Console()
    table = _facts()
    unseen = f", {result.num_unseen:,} of them not seen" if result.num_unseen else ""
    table.add_row("Images", f"{result.num_images:,}{unseen}")
    table.add_row("Tags of captions", f"{result.num_named:,}")
    if result.revision is not None:
        table.add_row("Added", f"{result.num_added:,}")
        table.add_row("Removed", f"{result.num_removed:,}")
        table.add_row("Labels", f"{result.num_labels:,}, revision {result.revision}")
    if result.num_problems:
        table.add_row("Problems", f"{result.num_problems:,}; the report lists them")
    table.add_row("Time", format_duration(result.wall_s))
    console.print(table)
    for note in result.notes:
        console.print(Text(f"Note: {note}", style="yellow"), soft_wrap=True)
    if result.revision is not None:
        folder = f"{result.output.rstrip('/')}/revisions/{result.revision:06d}"
        console.print(Text(f"Labels: {printable(folder)}/images (per image), .../labels (why)"))
        console.print(Text(f"Report: {printable(result.report or '')}"), style="bold")


def print_explanation(found: "Explanation") -> None:
    """Print every tag of an image, kept ones first, with every decision in words."""
    console = Console()
    console.print(Text(printable(found.image_id), style="bold"))
    for number, caption in enumerate(found.captions, start=1):
        console.print(
            Text(f"  caption {number}: {printable(caption)}", style="dim"), soft_wrap=True
        )
    if not found.labels:
        console.print("  nobody says anything about it: no tag")
    for label in sorted(found.labels, key=lambda label: not label["present"]):
        style, mark = ("green", "+") if label["present"] else ("red", "-")
        line = Text(f"{mark} {printable(label['tag'])}", style=f"bold {style}")
        reason = RULE_NAMES.get(label["decided_by"], label["decided_by"])
        line.append(f"  {label['kind']}, {label['decided_by']}: {reason}", style="dim")
        console.print(line)
        for decision in label["decisions"]:
            words = explain_decision(decision, found.captions)
            console.print(Text(f"    {decision['action']:<6} {printable(words)}"), soft_wrap=True)
    if found.additions:
        console.print(
            Text(f"Thresholds for added tags: {printable(found.additions)}.", style="dim"),
            soft_wrap=True,
        )


def print_diff(found: "RunDiff") -> None:
    """Print what changed from the first run to the second."""
    console = Console()
    table = _facts()
    table.add_row("Images in both", f"{found.num_images:,}")
    if found.only_a or found.only_b:
        table.add_row("In one alone", f"{found.only_a:,} and {found.only_b:,}")
    table.add_row("Labels gained", f"{found.gained:,}")
    table.add_row("Labels lost", f"{found.lost:,}")
    console.print(table)
    for rule, count in found.by_rule.items():
        console.print(Text(f"  {rule:<22} {count:,}"))
    for tag, (gained, lost) in list(found.by_tag.items())[:SHOWN]:
        console.print(Text(f"  {printable(tag):<22} +{gained:,} -{lost:,}"))
    for image_id, sign, tag, rule in found.examples[:SHOWN]:
        console.print(
            Text(f"  {sign} {printable(tag)}  {printable(image_id)}  {rule}", style="dim")
        )


def print_undo(result: "UndoResult") -> None:
    """Print what an undo changed."""
    console = Console()
    console.print(
        f"Revision {result.revision}: {result.undone} had a word in {result.num_decisions:,} "
        f"labels, {result.num_changed:,} of them are another now; all others are as they were."
    )
    console.print(Text(f"Report: {printable(result.report)}"), style="bold")


def _facts() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    return table

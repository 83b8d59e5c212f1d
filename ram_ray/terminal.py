"""What the commands print: tags of one photo, a run's summary, verification, doctor's findings."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from ram_ray.progress import format_duration

if TYPE_CHECKING:  # these import ray or torch; a name is enough here
    from ram_ray.doctor import Check
    from ram_ray.photo import TaggedPhoto
    from ram_ray.run_summary import RunSummary
    from ram_ray.verification import VerifyReport

BAR_WIDTH = 24  # characters

_STATUS_STYLES = {"ok": "green", "warn": "yellow", "fail": "bold red"}


def print_photo(photo: TaggedPhoto) -> None:
    """Print one line per tag, falling score: name, bar, score."""
    console = Console()
    headline = f"{printable(photo.path)}  ({photo.model_id})"
    console.print(Text(headline, style="bold"), soft_wrap=True)
    if photo.caption is not None:
        console.print(Text(f"  {printable(photo.caption)}", style="italic"), soft_wrap=True)
    if not photo.tags:
        console.print("  no tag reached its threshold; try a lower --threshold", style="dim")
    console.print(score_table(zip(photo.tags, photo.scores, strict=True)))
    _print_notes(console, photo.notes)


def score_table(tags_and_scores: Iterable[tuple[str, float]]) -> Table:
    """Return rows of tag, bar and score."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="right", min_width=12)
    table.add_column(width=BAR_WIDTH)
    table.add_column(justify="right")
    for tag, score in tags_and_scores:
        bar = ProgressBar(total=1.0, completed=score, width=BAR_WIDTH, complete_style="cyan")
        table.add_row(Text(printable(tag)), bar, f"{score:.2f}")
    return table


def print_summary(summary: RunSummary) -> None:
    """Print counts, speed, reasons of quarantine, output and notes of a finished run."""
    console = Console()
    table = _facts_table()
    table.add_row("Images", f"{summary.num_images:,} in {_shards(summary.num_shards)}")
    table.add_row("Tagged", f"{summary.num_tagged:,}")
    reasons = ", ".join(
        f"{count:,} {code}" for code, count in sorted(summary.quarantined_by_code.items())
    )
    table.add_row("Quarantined", f"{summary.num_quarantined:,}" + (f" ({reasons})" * bool(reasons)))
    if summary.num_skipped:
        table.add_row("Skipped by name", f"{summary.num_skipped:,}")
    speed = f"{format_duration(summary.wall_s)}, {summary.images_per_s:,.1f} images/s"
    table.add_row("Time", speed + (" (resumed)" if summary.resumed else ""))
    table.add_row("Model", summary.model_id)
    table.add_row("Output", Text(printable(summary.output)))
    console.print(table)
    _print_notes(console, summary.notes)


def print_verification(report: VerifyReport) -> None:
    """Print the recount of an OUTPUT, and each problem on a line of its own."""
    console = Console()
    table = _facts_table()
    table.add_row("Planned", f"{report.planned:,} in {_shards(report.shards)}")
    table.add_row("Tagged", f"{report.tagged:,}")
    table.add_row("Quarantined", f"{report.quarantined:,}")
    table.add_row("Missing", f"{report.missing:,}")
    table.add_row("Duplicate", f"{report.duplicate:,}")
    if report.uncommitted_shards:
        table.add_row("Not committed", _shards(report.uncommitted_shards))
    console.print(table)
    for problem in report.problems:
        console.print(Text(f"  {printable(problem)}", style="red"))
    if report.ok:
        console.print("Every planned image is there exactly once.", style="green")
    else:
        console.print("Not complete; run `ram-ray tag` again to resume.", style="bold red")


def print_check(check: Check) -> None:
    """Print one finding of the doctor, with what to do about it."""
    console = Console()
    line = Text.assemble(
        (f"{check.status:<4}", _STATUS_STYLES[check.status]),
        (f"  {check.name:<16}", "bold"),
        printable(check.found),
    )
    console.print(line, soft_wrap=True)
    if check.advice:
        console.print(Text(f"{'':22}-> {printable(check.advice)}", style="dim"), soft_wrap=True)


def print_step(text: str) -> None:
    """Print the headline of a step."""
    console = Console()
    console.print()
    console.print(Text(text, style="bold cyan"))


def print_sample(rows: Iterable[Mapping[str, Any]], *, max_tags: int = 6) -> None:
    """Print one line per image: name and best tags; `rows` as in schema.TAGS."""
    table = _facts_table()
    for row in rows:
        best = zip(row["tags"][:max_tags], row["scores"], strict=False)
        tags = ", ".join(f"{tag} {score:.2f}" for tag, score in best) or "no tag"
        table.add_row(Text(printable(row["image_id"])), Text(printable(tags), style="default"))
    Console().print(table)


def print_quarantine(rows: Iterable[Mapping[str, Any]]) -> None:
    """Print one line per image that failed; `rows` as in schema.QUARANTINE."""
    table = _facts_table()
    table.add_column()
    for row in rows:
        code = Text(row["error_code"], style="yellow")
        table.add_row(Text(printable(row["image_id"])), code, Text(printable(row["message"])))
    Console().print(table)


def print_next_steps(report: str) -> None:
    """Print where the report is and the three commands to go on with."""
    print_step("Look at the pictures and their tags in a browser:")
    console = Console()
    console.print(Text(f"  {report}"))
    print_step("Next:")
    table = _facts_table()
    table.add_row("  ram-ray tag FOLDER tags-out", "a folder of yours")
    table.add_row("  ram-ray tag s3://BUCKET/PREFIX tags-out", "a bucket of yours")
    table.add_row("  ram-ray serve", "an API and a page to try it")
    console.print(table)


def printable(text: str) -> str:
    """Return `text` with control characters shown as `?`: names of a bucket are not ours."""
    return "".join(character if character.isprintable() else "?" for character in text)


def _shards(count: int) -> str:
    return f"{count:,} shard{'s' if count != 1 else ''}"


def _facts_table() -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    return table


def _print_notes(console: Console, notes: Iterable[str]) -> None:
    for note in notes:
        console.print(Text(f"Note: {note}", style="yellow"), soft_wrap=True)

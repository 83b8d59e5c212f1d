"""What `ram-ray labels build` tells a person: counts, coverage, and what needs a look."""

from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from ram_ray.labels.builder.output import REVIEW, VOCABULARY
from ram_ray.labels.builder.result import Build

MAX_PROBLEMS = 5  # on the screen; the review page has all


def print_build(build: Build, output: str) -> None:
    """Print a build's result on stdout, and problems on stderr."""
    console = Console()
    table = Table(box=None, pad_edge=False, header_style="dim")
    for heading, justify in (
        ("list", "left"),
        ("covered", "right"),
        ("of", "right"),
        ("", "right"),
    ):
        table.add_column(heading, justify=justify)  # pyright: ignore[reportArgumentType]
    for one in build.coverage:
        share = f"{100 * one.share:.1f}%"
        table.add_row(escape(one.list_name), f"{one.num_covered:,}", f"{one.num_entries:,}", share)
    retired = len(build.rows) - len(build.tags)
    console.print(
        f"[bold]{len(build.tags):,} tags[/bold] from {build.num_captions:,} captions and "
        f"{len(build.coverage)} list{'s' if len(build.coverage) != 1 else ''}"
        + (f"; {retired:,} retired, their ids kept" if retired else "")
    )
    if build.coverage:
        console.print(table)
    if build.proposals:
        console.print(f"{len(build.proposals):,} pairs may be the same thing: see the review page.")
    console.print(f"{Path(output) / VOCABULARY}\n{Path(output) / REVIEW}", markup=False)
    errors = Console(stderr=True)
    for sentence in build.unknown_names:
        errors.print(f"decisions, {sentence}", markup=False)
    for problem in build.problems[:MAX_PROBLEMS]:
        errors.print(str(problem), markup=False)
    if len(build.problems) > MAX_PROBLEMS:
        errors.print(f"... {len(build.problems):,} lines with problems, all in report.json")

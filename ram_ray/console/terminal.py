"""What all printed output shares: tables of facts and scores, notes, sizes, safe text."""

import math
from collections.abc import Iterable

from rich.console import Console
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

BAR_WIDTH = 24  # characters


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


def format_bytes(count: float) -> str:
    """Return `512 B`, `1.4 MB` or `2.0 TB`; decimal, as object stores bill."""
    units = ("B", "kB", "MB", "GB", "TB", "PB")
    power = min(len(units) - 1, int(math.log10(max(1.0, count)) / 3))
    return f"{count / 1000**power:,.{1 if power else 0}f} {units[power]}"


def printable(text: str) -> str:
    """Return `text` with control characters shown as `?`: names of a bucket are not ours."""
    return "".join(character if character.isprintable() else "?" for character in text)


def facts_table() -> Table:
    """Return an empty table of two columns, name and value."""
    table = Table.grid(padding=(0, 2))
    table.add_column(style="bold")
    table.add_column()
    return table


def print_notes(console: Console, notes: Iterable[str]) -> None:
    """Print each note on a line of its own."""
    for note in notes:
        console.print(Text(f"Note: {note}", style="yellow"), soft_wrap=True)

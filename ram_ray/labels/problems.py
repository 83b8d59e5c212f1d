"""A line of a list or caption file that cannot be used: reported with its place, never fatal."""

from collections.abc import Callable
from typing import NamedTuple


class Problem(NamedTuple):
    """What is wrong with one line, or member of a tar, or row of a table."""

    source: str
    """File, or file/member."""
    line: int
    """From 1; 0: the file as a whole."""
    message: str

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        return f"{place}: {self.message}"


Report = Callable[[Problem], None]
"""Takes each problem as it is found; `list.append` is one."""

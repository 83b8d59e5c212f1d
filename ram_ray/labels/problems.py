"""A line of a list or caption file that cannot be used: reported with its place, never fatal."""

from collections.abc import Callable
from typing import NamedTuple

BAD_LINE, BAD_FILE = "bad_line", "bad_file"
NOT_DOWNLOADED = "not_downloaded"
"""A row of img2dataset without a picture: told, but nobody's fault and no share of errors."""


class Problem(NamedTuple):
    """What is wrong with one line, or member of a tar, or row of a table."""

    source: str
    """File, or file/member."""
    line: int
    """From 1; 0: the file as a whole."""
    message: str
    code: str | None = None
    """None: a bad line, or a bad file where there is no line."""

    @property
    def error_code(self) -> str:
        """`bad_line`, `bad_file` or `not_downloaded`."""
        return self.code or (BAD_LINE if self.line else BAD_FILE)

    def __str__(self) -> str:
        place = f"{self.source}:{self.line}" if self.line else self.source
        return f"{place}: {self.message}"


Report = Callable[[Problem], None]
"""Takes each problem as it is found; `list.append` is one."""

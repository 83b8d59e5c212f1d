"""Local files that are files: a pipe, a device or a socket may never end, and is not opened."""

import os
import stat
from typing import IO

SPECIAL = "is a pipe, a device or a socket, which is never opened"


class SpecialFileError(OSError):
    """What stands at a path is no file with bytes of its own."""


def open_regular(path: str, *, buffering: int = -1) -> IO[bytes]:
    """Open a local file to read its bytes; links are followed.

    Raises:
        SpecialFileError: it is a pipe, a device or a socket.
        OSError: as of `open`.
    """
    if is_special(os.stat(path)):
        raise SpecialFileError(f"It {SPECIAL}")
    return open(path, "rb", buffering=buffering)


def is_special(found: os.stat_result) -> bool:
    """Tell whether it is neither a file nor a folder, links followed."""
    return not (stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode))

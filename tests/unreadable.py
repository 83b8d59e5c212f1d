"""Folders that may not be read, also where tests run as root."""

import codecs
import os
import shutil
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NOBODY = 65534


@contextmanager
def as_nobody() -> Iterator[None]:
    """Give up root's right to read everything, for a block."""
    if os.geteuid() != 0:
        yield
        return
    codecs.lookup("utf-8-sig")  # nobody may not be able to import it, and a failure is kept
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


@contextmanager
def odd_folder(picture: bytes) -> Iterator[Path]:
    """Yield a folder of everything that is no plain file, and `a.jpg` and `z.jpg`, which are.

    Where root made it, `locked/` may be entered by nobody but root: see `as_nobody`.
    """
    folder = Path(tempfile.mkdtemp(prefix="odd-"))
    folder.chmod(0o755)
    try:
        for name in ("a.jpg", "z.jpg"):
            (folder / name).write_bytes(picture)
        (folder / "loop.jpg").symlink_to("loop.jpg")
        (folder / "loop.txt").symlink_to("loop.txt")
        (folder / "gone.txt").symlink_to("nowhere")
        os.mkfifo(folder / "pipe.jpg")
        os.mkfifo(folder / "pipe.txt")
        (folder / "pipe-link.jpg").symlink_to("pipe.jpg")
        (folder / "pipe-link.jsonl").symlink_to("pipe.txt")
        (folder / "zero.jpg").symlink_to("/dev/zero")
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(str(folder / "socket.jpg"))
        (folder / "locked").mkdir()
        (folder / "locked" / "b.jpg").write_bytes(picture)
        (folder / "into-locked.jpg").symlink_to("locked/b.jpg")
        (folder / "into-locked.txt").symlink_to("locked/b.jpg")
        (folder / "locked").chmod(0o000)
        yield folder
    finally:
        (folder / "locked").chmod(0o755)
        shutil.rmtree(folder)

"""Files beside pictures: where one may lie, and which may not be touched."""

import os
from pathlib import Path, PurePosixPath

NO_SUCH_NAME = "have a name that no file here can have"
IS_A_LINK = "have a link where their file would be"
KEPT = "have such a file already, which was left as it is (--replace writes it anew)"


def place_below(folder: Path, name: str) -> Path | None:
    """Return the path of `name` below `folder`, or None where there can be none.

    An image's id is an object's key, and a key may be anything: `/a`, `../a`, `a//b`, one that is
    too long. None of them may lead out of the folder or onto another picture's file.
    """
    parts = name.split("/")
    if any(part in ("", ".", "..") for part in parts) or "\0" in name:
        return None
    if any(len(os.fsencode(part)) > 200 for part in parts):  # 255, less what suffixes need
        return None
    place = folder / PurePosixPath(name)
    for parent in place.parents:
        if parent == folder:
            return place
        if parent.is_symlink() or (parent.exists() and not parent.is_dir()):
            return None
    return None


def write_whole(place: Path, content: bytes) -> None:
    """Write a file at once, with the mode of the one that it replaces."""
    place.parent.mkdir(parents=True, exist_ok=True)
    part = place.with_name(f".{place.name}.{os.getpid()}.part")
    try:
        part.write_bytes(content)
        if place.exists():
            part.chmod(place.stat().st_mode & 0o777)
        part.replace(place)
    finally:
        part.unlink(missing_ok=True)

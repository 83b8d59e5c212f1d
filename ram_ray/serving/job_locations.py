"""Which folders and buckets a request may name: those below the operator's prefixes, no others."""

import os
import re
from collections.abc import Sequence

_BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,61}[a-z0-9]")  # AWS's rule


def allowed_location(url: str, prefixes: Sequence[str]) -> str | None:
    """Return the normal form of a location at or below one of the prefixes; None for all others.

    Symlinks of a folder are followed first; the result is the real path, which is what counts.
    """
    location = normal_location(url)
    allowed = [normal_location(prefix) for prefix in prefixes]
    below = location is not None and any(
        prefix is not None and (location == prefix or location.startswith(f"{prefix}/"))
        for prefix in allowed
    )
    return location if below else None


def normal_location(url: str) -> str | None:
    """Return a location without a trailing slash, symlinks resolved; None for anything odd."""
    # what means something to a URL parser, a shell, a glob or a store is no part of a plain path
    if not url.isprintable() or any(character in url for character in "\\%?#*"):
        return None
    scheme, separator, path = url.rstrip("/").rpartition("://")
    parts = path.split("/") if separator else path.split("/")[1:]
    if not parts or any(part in ("", ".", "..") for part in parts):
        return None
    if scheme == "s3" and _BUCKET.fullmatch(parts[0]):
        return f"s3://{path}"
    if not separator and path.startswith("/"):
        return os.path.realpath(path)
    return None

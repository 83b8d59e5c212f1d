"""Download one large file: resumed where it stopped, checked when it is whole."""

import errno
import hashlib
import json
import os
import random
import re
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import requests
from urllib3.exceptions import ConnectTimeoutError, NewConnectionError, ProxyError

from ram_ray.errors import IncompleteRunError, UnreachableError

CHUNK_BYTES = 1 << 16  # what a broken connection loses at most
TIMEOUT_S = (15.0, 60.0)  # to connect, and between two pieces of the body
MAX_FRUITLESS_TRIES = 5  # in a row, without a byte more than before
_PASSING = (408, 425, 429, 500, 502, 503, 504)

OnBytes = Callable[[int, int | None], None]
"""Called with the bytes there are, and how many there will be (None: the server does not say)."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Downloaded:
    """A whole file, and what is known about it."""

    url: str
    sha256: str
    size_bytes: int
    pinned: bool
    """The hash was known beforehand: given, or published by the server."""


def download(
    url: str,
    path: Path,
    *,
    sha256: str | None = None,
    spare_bytes: int = 0,
    on_bytes: OnBytes = lambda done, total: None,
    pause: Callable[[float], None] = time.sleep,
) -> Downloaded:
    """Fetch `url` into `path`; what an interrupted call left in `path`.part is not fetched again.

    Args:
        sha256: what the file must have, hexadecimal; None: what the server publishes, if it does.
        spare_bytes: disk space that must be left beside the file.
        pause: waits between tries; for tests.

    Raises:
        UnreachableError: no such file, the server does not answer, or the hash is another.
        IncompleteRunError: the connection broke too often or the disk is full; call it again.
    """
    part = _Part(path)
    tries = 0
    while True:
        before = part.size
        try:
            published = _fetch_rest(url, part, spare_bytes, on_bytes)
            break
        except (requests.ConnectionError, requests.Timeout, _BrokenOffError) as error:
            tries = 0 if part.size > before else tries + 1
            if _nobody_answers(error):
                raise _gave_up(url, part, error) from error
            if tries >= MAX_FRUITLESS_TRIES:
                raise _gave_up(url, part, error) from error
            pause(min(30.0, 2.0**tries) * random.uniform(0.5, 1.0))
        except requests.RequestException as error:
            raise UnreachableError(f"{url} cannot be fetched: {error}.") from error
    expected = sha256.lower() if sha256 else published
    found = part.sha256()
    if expected is not None and found != expected:
        part.remove()
        raise UnreachableError(
            f"{url} is not the file it should be: its sha256 is {found}, but must be {expected}; "
            f"the download was deleted."
        )
    size = part.size
    part.finish()
    return Downloaded(url=url, sha256=found, size_bytes=size, pinned=expected is not None)


class _BrokenOffError(Exception):
    """The server stopped early, or asks to come back."""


class _Part:
    """The unfinished file, and a note beside it about which file it is the start of."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._part = path.with_name(path.name + ".part")
        self._note = path.with_name(path.name + ".part.json")
        path.parent.mkdir(parents=True, exist_ok=True)

    @property
    def size(self) -> int:
        return self._part.stat().st_size if self._part.is_file() else 0

    def identity(self) -> dict[str, object]:
        """Return what the note says; empty where there is none to trust."""
        try:
            return dict(json.loads(self._note.read_text(encoding="utf-8")))
        except (OSError, ValueError, TypeError):
            return {}

    def start(self, identity: dict[str, object]) -> None:
        self._part.write_bytes(b"")
        self._note.write_text(json.dumps(identity), encoding="utf-8")

    def append(self, pieces: "requests.Response", on_bytes: OnBytes, total: int | None) -> None:
        with self._part.open("ab") as file:
            for piece in pieces.iter_content(CHUNK_BYTES):
                file.write(piece)
                on_bytes(file.tell(), total)
            file.flush()
            os.fsync(file.fileno())

    def sha256(self) -> str:
        with self._part.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def finish(self) -> None:
        self._part.replace(self._path)
        self._note.unlink(missing_ok=True)

    def remove(self) -> None:
        self._part.unlink(missing_ok=True)
        self._note.unlink(missing_ok=True)

    def free_bytes(self) -> int:
        return shutil.disk_usage(self._path.parent).free


def _fetch_rest(url: str, part: _Part, spare_bytes: int, on_bytes: OnBytes) -> str | None:
    """Fetch what is missing; return the sha256 that the server publishes, if it does."""
    note = part.identity()
    have = part.size if note.get("url") == url else 0
    headers = {"Accept-Encoding": "identity"}  # else sizes and ranges mean compressed bytes
    if have:
        headers["Range"] = f"bytes={have}-"
        if isinstance(version := note.get("version"), str) and not version.startswith("W/"):
            headers["If-Range"] = version
    with requests.get(url, headers=headers, stream=True, timeout=TIMEOUT_S) as answer:
        published = _published_sha256(answer)
        total = _total_bytes(answer)
        if answer.status_code == 416 and have and have == (total or note.get("size")):
            return published  # it was whole already
        if answer.status_code in _PASSING:
            raise _BrokenOffError(f"HTTP {answer.status_code}")
        if answer.status_code == 416:
            part.remove()
            raise _BrokenOffError("there is no such part of the file: starting again")
        if answer.status_code not in (200, 206):
            raise UnreachableError(f"{url} cannot be fetched: HTTP {answer.status_code}.")
        if answer.status_code == 200 or not _continues(answer, have, note, total):
            have = 0
            part.start({"url": url, "version": _version(answer), "size": total})
            if answer.status_code == 206:
                raise _BrokenOffError("the file on the server has changed: starting again")
        _check_space(url, part, (total or 0) - have + spare_bytes)
        try:
            part.append(answer, on_bytes, total)
        except requests.exceptions.ChunkedEncodingError as error:
            raise _BrokenOffError("the connection broke") from error
        except OSError as error:
            if isinstance(error, requests.RequestException) or error.errno != errno.ENOSPC:
                raise
            raise _no_space(url, part, (total or 0) - part.size) from error
    if total is not None and part.size != total:
        if part.size > total:
            part.remove()
        raise _BrokenOffError(f"it ended after {part.size} of {total} bytes")
    return published


def _continues(
    answer: requests.Response, have: int, note: dict[str, object], total: int | None
) -> bool:
    """Tell whether a 206 answer goes on where the part ends, in the same file."""
    same_version = note.get("version") in (None, _version(answer))
    same_size = note.get("size") in (None, total)
    starts_at = re.match(r"bytes (\d+)-", answer.headers.get("Content-Range", ""))
    return same_version and same_size and starts_at is not None and int(starts_at.group(1)) == have


def _version(answer: requests.Response) -> str | None:
    """Return what tells this file from an earlier one at the same address, if the server says."""
    return answer.headers.get("ETag") or answer.headers.get("Last-Modified")


def _total_bytes(answer: requests.Response) -> int | None:
    whole = re.search(r"/(\d+)$", answer.headers.get("Content-Range", ""))
    if whole:
        return int(whole.group(1))
    length = answer.headers.get("Content-Length")
    return int(length) if answer.status_code == 200 and length else None


def _published_sha256(answer: requests.Response) -> str | None:
    """Return the hash that a Hugging Face hub publishes with its redirect to the file."""
    for response in (*answer.history, answer):
        tag = response.headers.get("X-Linked-ETag", "").strip('"').lower()
        if re.fullmatch(r"[0-9a-f]{64}", tag):
            return tag
    return None


def _check_space(url: str, part: _Part, needed: int) -> None:
    if needed > part.free_bytes():
        raise _no_space(url, part, needed)


def _no_space(url: str, part: _Part, needed: int) -> IncompleteRunError:
    return IncompleteRunError(
        f"Not enough disk space for {url}: {needed / 1e9:.1f} GB are needed, "
        f"{part.free_bytes() / 1e9:.1f} GB are free; make room and run the same command again."
    )


def _gave_up(url: str, part: _Part, error: BaseException) -> Exception:
    reason = _innermost(error)
    if part.size == 0:
        return UnreachableError(f"{url} cannot be reached: {reason}.")
    return IncompleteRunError(
        f"{url} broke off again and again ({reason}): {part.size / 1e6:.1f} MB are kept; "
        f"run the same command again to go on from there."
    )


def _nobody_answers(error: BaseException) -> bool:
    """Tell whether no connection was made at all: no network, no such host, nobody listens."""
    under: BaseException | None = error
    while under is not None:
        if isinstance(under, (NewConnectionError, ConnectTimeoutError, ProxyError)):
            return True
        under = under.__context__
    return False


def _innermost(error: BaseException) -> str:
    """Return what the system said, from under the layers that requests puts around it."""
    deepest = error
    while deepest.__context__ is not None:
        deepest = deepest.__context__
    if isinstance(error, requests.RequestException) and isinstance(deepest, OSError):
        return deepest.strerror or str(deepest)
    return str(error)

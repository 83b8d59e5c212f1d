import errno
import hashlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from ram_ray.errors import IncompleteRunError, UnreachableError
from ram_ray.models import download as download_module
from ram_ray.models.download import CHUNK_BYTES, MAX_FRUITLESS_TRIES, Downloaded, download
from tests.http_server import FileServer, serve

BODY = bytes(range(256)) * 20_000  # 5 MB
SHA256 = hashlib.sha256(BODY).hexdigest()


@pytest.fixture
def server() -> Iterator[FileServer]:
    with serve({"/ram.pth": BODY}) as server:
        yield server


def _fetch(server: FileServer, folder: Path, **options: Any) -> Downloaded:
    pauses: list[float] = options.pop("pauses", [])
    return download(f"{server.url}/ram.pth", folder / "ram.pth", pause=pauses.append, **options)


def _left_over(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_whole_file_with_progress(server: FileServer, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    got = _fetch(server, tmp_path, on_bytes=lambda done, total: seen.append((done, total)))
    assert (tmp_path / "ram.pth").read_bytes() == BODY
    assert got == Downloaded(
        url=f"{server.url}/ram.pth", sha256=SHA256, size_bytes=len(BODY), pinned=False
    )
    assert seen[-1] == (len(BODY), len(BODY))
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)
    assert len(seen) > 3
    assert _left_over(tmp_path) == ["ram.pth"]


def test_broken_connections_are_resumed_where_they_broke(
    server: FileServer, tmp_path: Path
) -> None:
    server.break_after = [30 * CHUNK_BYTES, 0, 10 * CHUNK_BYTES]
    pauses: list[float] = []
    _fetch(server, tmp_path, sha256=SHA256, pauses=pauses)
    assert (tmp_path / "ram.pth").read_bytes() == BODY
    assert [wanted for _, wanted in server.requests] == [
        None, f"bytes={30 * CHUNK_BYTES}-", f"bytes={30 * CHUNK_BYTES}-",
        f"bytes={40 * CHUNK_BYTES}-",
    ]  # fmt: skip
    assert len(pauses) == 3


def test_killed_download_is_resumed_by_the_next_call(server: FileServer, tmp_path: Path) -> None:
    class Killed(BaseException):
        pass

    def kill(done: int, total: int | None) -> None:
        if done > 2_000_000:
            raise Killed

    with pytest.raises(Killed):
        _fetch(server, tmp_path, on_bytes=kill)
    have = (tmp_path / "ram.pth.part").stat().st_size
    assert 0 < have < len(BODY)
    _fetch(server, tmp_path)
    assert (tmp_path / "ram.pth").read_bytes() == BODY
    assert server.requests[-1][1] == f"bytes={have}-"


@pytest.mark.parametrize("change", ["etag", "modified", "size", "no ranges", "url"])
def test_a_file_that_changed_meanwhile_is_fetched_anew(
    server: FileServer, tmp_path: Path, change: str
) -> None:
    server.break_after = [3_000_000] + [0] * MAX_FRUITLESS_TRIES
    if change in ("size", "modified"):
        server.etag = None
    if change == "modified":
        server.modified = "Mon, 23 Nov 2026 10:00:00 GMT"
    with pytest.raises(IncompleteRunError, match=r"the connection broke\): 2\.9 MB are kept"):
        _fetch(server, tmp_path)
    new = BODY[::-1] + (b"more" if change == "size" else b"")
    server.files["/ram.pth"] = new
    server.break_after = []
    if change == "etag":
        server.etag = '"v2"'
    elif change == "modified":
        server.modified = "Tue, 24 Nov 2026 10:00:00 GMT"
    elif change == "no ranges":
        server.ranges = False
    elif change == "url":
        note = tmp_path / "ram.pth.part.json"
        note.write_text(note.read_text().replace("ram.pth", "other.pth"))
    _fetch(server, tmp_path)
    assert (tmp_path / "ram.pth").read_bytes() == new


def test_connection_that_breaks_at_once_each_time_is_given_up(
    server: FileServer, tmp_path: Path
) -> None:
    server.break_after = [0] * 50
    with pytest.raises(UnreachableError, match="cannot be reached"):
        _fetch(server, tmp_path)
    assert len(server.requests) == MAX_FRUITLESS_TRIES


def test_busy_server_is_asked_again(server: FileServer, tmp_path: Path) -> None:
    server.statuses = [503, 429]
    assert _fetch(server, tmp_path).sha256 == SHA256


@pytest.mark.parametrize("status", [401, 404, 410])
def test_refusals_are_final(server: FileServer, tmp_path: Path, status: int) -> None:
    server.statuses = [status]
    with pytest.raises(UnreachableError, match=f"HTTP {status}"):
        _fetch(server, tmp_path)
    assert len(server.requests) == 1


def test_nobody_there(tmp_path: Path) -> None:
    pauses: list[float] = []
    for url, why in (
        ("http://127.0.0.1:9/x", "Connection refused"),
        ("http://no-such-host.invalid/x", "."),
    ):
        with pytest.raises(UnreachableError, match=f"cannot be reached: {why}"):
            download(url, tmp_path / "x", pause=pauses.append)
    assert pauses == []  # there is no network: nothing to wait for
    with pytest.raises(UnreachableError, match="cannot be fetched"):
        download("ftp://127.0.0.1/x", tmp_path / "x", pause=lambda _: None)


def test_wrong_hash_deletes_the_file(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=f"its sha256 is {SHA256}, but must be {'0' * 64}"):
        _fetch(server, tmp_path, sha256="0" * 64)
    assert _left_over(tmp_path) == []
    assert _fetch(server, tmp_path, sha256=SHA256.upper()).pinned


def test_hash_published_by_a_hub_is_checked(server: FileServer, tmp_path: Path) -> None:
    server.linked_etag = "1" * 64
    with pytest.raises(UnreachableError, match=f"must be {'1' * 64}"):
        _fetch(server, tmp_path)
    server.linked_etag = SHA256
    assert _fetch(server, tmp_path).pinned


def test_whole_part_is_only_checked(server: FileServer, tmp_path: Path) -> None:
    server.break_after = [0] * MAX_FRUITLESS_TRIES
    with pytest.raises(UnreachableError):
        _fetch(server, tmp_path)
    (tmp_path / "ram.pth.part").write_bytes(BODY)  # killed between the last byte and the check
    server.break_after = []
    assert _fetch(server, tmp_path, sha256=SHA256).size_bytes == len(BODY)
    (tmp_path / "ram.pth.part").write_bytes(BODY + b"x")  # more than there is: not ours
    (tmp_path / "ram.pth.part.json").write_text(f'{{"url": "{server.url}/ram.pth"}}')
    assert _fetch(server, tmp_path, sha256=SHA256).size_bytes == len(BODY)


def test_disk_space_is_checked_before_the_first_byte(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = shutil.disk_usage(tmp_path)._replace(free=len(BODY) + 1000)
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(IncompleteRunError, match=r"Not enough disk space .* 0\.0 GB are needed"):
        _fetch(server, tmp_path, spare_bytes=1001)
    assert (tmp_path / "ram.pth.part").stat().st_size == 0
    assert _fetch(server, tmp_path, spare_bytes=1000).sha256 == SHA256


def test_disk_that_fills_up_keeps_what_there_is(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr(download_module.os, "fsync", full)
        with pytest.raises(IncompleteRunError, match="make room and run the same command again"):
            _fetch(server, tmp_path)
    assert os.path.getsize(tmp_path / "ram.pth.part") > 0
    assert _fetch(server, tmp_path).sha256 == SHA256

"""The members of a tar, by name and place, as `tar` itself would extract them.

A member that stands in the tar twice counts once, as its last version. What cannot be read by
place is named in `problems`: nothing is read at wrong bytes, and nothing is passed over in silence.
"""

import os
import tarfile
from dataclasses import dataclass
from typing import IO, NamedTuple

APPLE_DOUBLE = "._"
"""Start of a file name: macOS keeps there, on foreign drives, what belongs to the file beside."""
COMPRESSED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
"""Endings of tars whose members have no place of their own."""


class Member(NamedTuple):
    """One file of a tar."""

    name: str
    """Without a leading "./"; bytes that are not UTF-8 are written as `\\xe9`."""
    offset: int
    """Where its bytes begin."""
    size: int
    """Bytes."""


@dataclass(frozen=True, slots=True)
class TarIndex:
    """What a tar holds."""

    members: tuple[Member, ...]
    """Plain files in the order of the tar, each name once."""
    problems: tuple[tuple[str, str], ...]
    """(member, what is wrong with it)."""
    apple_double: int
    """Files of macOS that are no files of the user's."""


def index_tar(file: IO[bytes]) -> TarIndex:
    """Read the headers of a tar, which must be seekable and not compressed.

    Raises:
        tarfile.TarError, EOFError: it is damaged, or no tar at all.
    """
    members: dict[str, Member] = {}
    problems: dict[str, str] = {}
    apple_double = 0
    size = file.seek(0, os.SEEK_END)
    file.seek(0)
    with tarfile.open(fileobj=file, mode="r:") as tar:
        end = 0
        for member in tar:
            name = shown_name(member.name)
            end = tar.offset  # of the next header
            if end - size >= tarfile.BLOCKSIZE:
                raise tarfile.ReadError(f"{name} reaches beyond the end")
            members.pop(name, None)  # `tar -r` appends a newer version of the same name
            problems.pop(name, None)
            target = members.get(shown_name(member.linkname)) if member.islnk() else None
            if member.issparse():
                problems[name] = "is a sparse member, whose bytes do not lie together: repack it"
            elif target is not None:
                members[name] = target._replace(name=name)
            elif member.islnk() or member.issym():
                problems[name] = "is a link out of the tar: repack it with --dereference"
            elif not member.isfile():
                continue
            elif name.rsplit("/", 1)[-1].startswith(APPLE_DOUBLE):
                apple_double += 1
            else:
                if member.offset_data + member.size > size:
                    raise tarfile.ReadError(f"{name} reaches beyond the end")
                members[name] = Member(name, member.offset_data, member.size)
        _check_end(file, end)
    return TarIndex(tuple(members.values()), tuple(problems.items()), apple_double)


def shown_name(name: str) -> str:
    """Return a member's name as an id: without "./", and text whatever its bytes are."""
    return os.fsencode(name.removeprefix("./")).decode(errors="backslashreplace")


def _check_end(file: IO[bytes], end: int) -> None:
    """tarfile takes a damaged header for the end; a real end is a block of zeros, or nothing."""
    file.seek(end)
    if any(file.read(tarfile.BLOCKSIZE)):
        raise tarfile.ReadError(f"no header at byte {file.tell() - tarfile.BLOCKSIZE}")

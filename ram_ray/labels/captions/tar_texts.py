"""The captions of a WebDataset tar: members of one key belong together.

The key is the path up to the first dot of the file's name: `0001.left.jpg`, `0001.right.jpg` and
`0001.txt` are one sample of two pictures. The same words in `.txt` and `.json` count once.
"""

import json
import tarfile
from collections import defaultdict
from collections.abc import Iterator
from typing import IO

from ram_ray.labels.captions.rows import Caption, captions_of_row, checked, is_file_name
from ram_ray.labels.problems import Problem, Report
from ram_ray.storage.tars import Member, index_tar

TEXTS = (".txt", ".caption")
_MAX_TEXT_BYTES = 16 << 20
"""Larger members are no captions of one image."""


def captions_of_tar(file: IO[bytes], name: str, report: Report) -> Iterator[Caption]:
    """Yield the captions of a tar; their images are called `NAME/MEMBER`.

    Args:
        file: seekable.
        name: the tar's own name.
    """
    try:
        index = index_tar(file)
    except (tarfile.TarError, EOFError) as error:
        report(Problem(name, 0, f"is not a whole tar file: {error}"))
        return
    for member, problem in index.problems:
        if is_text(member):
            report(Problem(f"{name}/{member}", 0, problem))
    samples: dict[str, list[tuple[int, Member]]] = defaultdict(list)
    for number, member in enumerate(index.members, start=1):
        samples[sample_key(member.name)].append((number, member))
    for key, members in samples.items():
        yield from _captions_of_sample(file, name, key, members, report)


def _captions_of_sample(
    file: IO[bytes], tar: str, key: str, members: list[tuple[int, Member]], report: Report
) -> Iterator[Caption]:
    pictures = [member.name for _, member in members if is_file_name(member.name)]
    told: dict[tuple[str, str], str] = {}
    for number, member in members:
        if not is_text(member.name):
            continue
        stem = member.name.rpartition(".")[0]
        # `0001.left.txt` is of `0001.left.jpg` alone, `0001.txt` of all pictures of the key
        own = [name for name in pictures if name.rpartition(".")[0] == stem] or pictures
        images = tuple(f"{tar}/{name}" for name in own)
        for caption in _captions_of_member(file, tar, (number, member), images, report):
            place = told.setdefault((caption.image, caption.text), member.name)
            if place == member.name:
                yield caption


def _captions_of_member(
    file: IO[bytes],
    tar: str,
    numbered: tuple[int, Member],
    images: tuple[str, ...],
    report: Report,
) -> Iterator[Caption]:
    number, member = numbered
    source = f"{tar}/{member.name}"
    if member.size > _MAX_TEXT_BYTES:
        report(Problem(source, number, f"is {member.size} bytes of text"))
        return
    file.seek(member.offset)
    try:
        text = file.read(member.size).decode("utf-8-sig")
        row = json.loads(text) if member.name.lower().endswith(".json") else None
    except UnicodeDecodeError:
        report(Problem(source, number, "is not UTF-8"))
        return
    except ValueError as error:
        report(Problem(source, number, f"is not JSON: {error}"))
        return
    alone = f"{tar}/{member.name.rpartition('.')[0]}"
    for image in images or (alone,):
        if row is None:
            yield from checked([text], image, source, number, report)
        else:
            owned = bool(images)
            yield from captions_of_row(row, image, source, number, report, owned=owned)


def is_text(name: str) -> bool:
    """Tell whether a member may hold captions."""
    return name.lower().endswith((*TEXTS, ".json"))


def sample_key(name: str) -> str:
    """Return the key of a member: its path up to the first dot of its last part."""
    folder, slash, last = name.rpartition("/")
    return folder + slash + (last.partition(".")[0] or last)

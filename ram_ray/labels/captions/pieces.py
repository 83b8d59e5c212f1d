"""Large caption files cut between lines, and what a piece says; other files are one piece."""

import tempfile
from collections.abc import Iterable, Iterator
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import NamedTuple

from ram_ray.config import StoreConfig
from ram_ray.errors import ImageErrorCode, UnreachableError
from ram_ray.labels.captions.files import CaptionSource, read_file
from ram_ray.labels.captions.forms import Form
from ram_ray.labels.captions.listing import CaptionFile
from ram_ray.labels.captions.rows import Caption
from ram_ray.labels.captions.tar_texts import captions_of_tar
from ram_ray.labels.problems import Problem, Report
from ram_ray.storage.again import STORE_ERRORS
from ram_ray.storage.fetching import classify
from ram_ray.storage.object_files import open_object

BLOCK_BYTES = 1 << 20


class Piece(NamedTuple):
    """Some lines of a caption file, or all of it."""

    key: str
    """Below the source, or the file's name."""
    uri: str
    start: int
    """First byte."""
    size_bytes: int
    first_line: int
    """From 1."""
    num_lines: int | None
    """None: not known before it is read."""
    form: str
    """`Form.to_json`."""
    images: tuple[str, ...]
    """Ids of the images that the file stands beside."""


def cut_pieces(file: CaptionFile, config: StoreConfig, *, piece_bytes: int) -> Iterator[Piece]:
    """Yield the pieces of one file; a file of lines is read once, to find where lines end."""
    found, form, images = file
    key = found.image_id.rsplit("/", 1)[-1] if "/" not in found.uri else found.image_id
    lines = form.kind in ("lines", "jsonl") or (form.kind == "table" and not form.quoted)
    if not lines:
        yield Piece(key, found.uri, 0, found.size_bytes, 1, None, form.to_json(), images)
        return
    start = at = 0
    first_line = 1
    num_lines = 0
    last = b"\n"
    blocks = read_blocks(found.uri, config, min(BLOCK_BYTES, piece_bytes))
    try:
        first = next(blocks, b"")
    except UnreachableError as error:
        if why_unreadable(error) is None:
            raise
        yield Piece(key, found.uri, 0, found.size_bytes, 1, None, form.to_json(), images)
        return  # its reader says so
    for block in chain((first,) if first else (), blocks):
        ends = block.count(b"\n")
        cut = block.rfind(b"\n") + 1
        num_lines += ends
        if ends and at + cut - start >= piece_bytes:
            size = at + cut - start
            yield Piece(key, found.uri, start, size, first_line, num_lines, form.to_json(), ())
            start, first_line, num_lines = at + cut, first_line + num_lines, 0
        at += len(block)
        last = block[-1:]
    if at > start:
        num_lines += last != b"\n"
        size = at - start
        yield Piece(key, found.uri, start, size, first_line, num_lines, form.to_json(), ())


def read_piece(piece: Piece, config: StoreConfig, report: Report) -> Iterator[Caption]:
    """Yield the captions of a piece; every line that gives none is reported, in order."""
    form = Form.from_json(piece.form)
    problems: list[Problem] = []
    seen: set[int] = set()
    try:
        for caption in _captions(piece, form, config, problems.append):
            seen.add(caption.line)
            yield caption
    except (*STORE_ERRORS, UnreachableError) as error:
        why = why_unreadable(error)
        if why is None:
            raise
        problems.append(Problem(piece.key, 0, why))
    if piece.num_lines is not None and not any(problem.line == 0 for problem in problems):
        seen |= {problem.line for problem in problems}
        has_header = form.kind == "table" and form.has_header
        for line in range(piece.first_line, piece.first_line + piece.num_lines):
            if line not in seen and not (line == 1 and has_header):
                problems.append(Problem(piece.key, line, "holds no caption"))
    for problem in sorted(problems, key=lambda problem: problem.line):
        report(problem)


def why_unreadable(error: BaseException) -> str | None:
    """Say what is wrong with a file that no second try would read; None: it may be the network."""
    if isinstance(error, UnreachableError):
        error = error.__cause__ or error
    if isinstance(error, FileNotFoundError):
        return "is gone"
    failure = classify(error)
    final = failure.code is not ImageErrorCode.FETCH_FAILED
    return f"cannot be read: {failure.message.rstrip('.')}" if final else None


class SaidOnce:
    """Drops what a second file beside the same image repeats: img2dataset writes .txt and .json."""

    def __init__(self) -> None:
        self._images: tuple[str, ...] = ()
        self._said: dict[tuple[str, str], str] = {}

    def __call__(self, piece: Piece, captions: Iterable[Caption]) -> Iterator[Caption]:
        """Yield the captions of a piece that no piece before it, of the same images, has given."""
        if piece.images != self._images:
            self._images, self._said = piece.images, {}
        for caption in captions:
            if not piece.images:
                yield caption
            elif self._said.setdefault((caption.image, caption.text), piece.key) == piece.key:
                yield caption


def _captions(piece: Piece, form: Form, config: StoreConfig, report: Report) -> Iterator[Caption]:
    if form.kind == "tar":
        with closing(open_object(piece.uri, config)) as file:
            yield from captions_of_tar(file, piece.key, report)
        return
    data = read_piece_bytes(piece, config)
    with tempfile.TemporaryDirectory(prefix="ram-ray-captions-") as folder:
        path = Path(folder) / "piece"
        path.write_bytes(data)
        source = CaptionSource(path, piece.key, form, piece.first_line, piece.images)
        yield from read_file(source, report)


def read_blocks(uri: str, config: StoreConfig, block_bytes: int) -> Iterator[bytes]:
    """Yield a file's bytes, a block at a time."""
    with closing(open_object(uri, config)) as file:
        while block := file.read(block_bytes):
            yield block


def read_piece_bytes(piece: Piece, config: StoreConfig) -> bytes:
    """Return the bytes of one piece."""
    with closing(open_object(piece.uri, config)) as file:
        file.seek(piece.start)
        return file.read(piece.size_bytes)

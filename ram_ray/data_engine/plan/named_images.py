"""Find the images and the captions of a source, each with the name by which they meet."""

import re
import tarfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from typing import Any, NamedTuple, Protocol

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.labels.captions.corpus import passed_as_problem, report_compressed
from ram_ray.labels.captions.joining import join_key
from ram_ray.labels.captions.listing import (
    CaptionFile,
    caption_file,
    is_picture,
    list_beside,
    list_caption_files,
)
from ram_ray.labels.captions.pieces import cut_pieces, read_piece, why_unreadable
from ram_ray.labels.problems import Problem
from ram_ray.storage.listing import is_table, list_images, list_objects
from ram_ray.storage.object_files import open_object
from ram_ray.storage.sources import NameFilter, OnPassed, SourceObject, image_suffixes
from ram_ray.storage.tars import index_tar
from ram_ray.storage.uris import member_uri

PIECE_BYTES = 16 * 2**20
"""Of a caption file, read into memory at a time."""


class Found(NamedTuple):
    """An image, or a caption (`uri` is None)."""

    key: str
    """What an image and its captions share."""
    name: str
    """The image's id, or what the caption calls the image."""
    uri: str | None
    size_bytes: int
    text: str
    source: str
    """file:line of a caption."""
    etag: str | None = None
    """Of the image's object, or of the tar that it is a member of, as listed."""


class ReportProblem(Protocol):
    """Told about caption lines that cannot be read, and files of other kinds."""

    def __call__(self, problem: Problem) -> None: ...

    def skip(self) -> None: ...


def find_images_and_captions(
    source: str,
    captions: str | None,
    config: StoreConfig,
    report: ReportProblem,
    columns: Sequence[str] | None = None,
    formats: Sequence[str] = (),
) -> Iterator[Found]:
    """Yield every image of `source` and every caption.

    Args:
        captions: file, folder or prefix; None: the caption files and tars of `source`.
        columns: what the columns of caption tables without names are, in order.
        formats: read beside the usual ones; pictures of others are skipped.

    Raises:
        ConfigError: a caption table whose columns cannot be told.
        UnreachableError: source or captions cannot be listed.
    """
    on_passed = passed_as_problem(report)
    suffixes = image_suffixes(formats)
    for listed in list_beside(_listing(source, config, on_passed, formats)):
        found = listed.found
        if found.from_row:
            yield _image(found.image_id, found.uri, found.size_bytes, found.etag)
            continue
        if is_picture(found.image_id) and found.image_id.lower().endswith(suffixes):
            yield _image(found.image_id, found.uri, found.size_bytes, found.etag)
            continue
        is_tar = found.image_id.lower().endswith(".tar")
        if is_tar:
            yield from _tar_images(found, config, report, suffixes)
        file = caption_file(listed, config, columns) if captions is None or is_tar else None
        if captions is None and file is not None:
            yield from _captions(file, config, report)
        elif not is_tar and not report_compressed(found.image_id, report):
            report.skip()
    if captions is not None:
        for file in list_caption_files(captions, config, columns, on_passed):
            if isinstance(file, CaptionFile):
                yield from _captions(file, config, report)
            elif not is_picture(file.image_id) and not report_compressed(file.image_id, report):
                report.skip()


def _listing(
    source: str, config: StoreConfig, on_passed: OnPassed, formats: Sequence[str]
) -> Iterator[SourceObject]:
    """Yield a source's objects: of a table its rows, which are images; tars as they are."""
    if is_table(source):
        return list_images(source, config, NameFilter((), (), formats), on_passed)
    return list_objects(source, config, on_passed)


def _image(image_id: str, uri: str, size_bytes: int, etag: str | None) -> Found:
    return Found(join_key(image_id), image_id, uri, size_bytes, "", "", etag)


def _tar_images(
    listed: SourceObject, config: StoreConfig, report: ReportProblem, suffixes: tuple[str, ...]
) -> Iterator[Found]:
    """Yield the image members of a tar, each addressed by where its bytes lie."""
    try:
        with closing(open_object(listed.uri, config)) as file:
            index = index_tar(file)
    except (tarfile.TarError, EOFError, UnreachableError, OSError) as error:
        if isinstance(error, UnreachableError) and why_unreadable(error) is None:
            raise  # the network, perhaps: its images are not left out for that
        report(Problem(listed.image_id, 0, f"is not a whole tar file: {error}"))
        return
    for name, problem in index.problems:
        if is_picture(name):
            report(Problem(f"{listed.image_id}/{name}", 0, problem))
    for member in index.members:
        if not is_picture(member.name):
            continue
        if not member.name.lower().endswith(suffixes):
            report.skip()
        else:
            uri = member_uri(listed.uri, member.offset, member.size)
            # With the tar's etag: at this place another content has another picture.
            yield _image(f"{listed.image_id}/{member.name}", uri, member.size, listed.etag)


def _captions(
    file: CaptionFile, config: StoreConfig, report: Callable[[Problem], Any]
) -> Iterator[Found]:
    for piece in cut_pieces(file, config, piece_bytes=PIECE_BYTES):
        problems: list[Problem] = []
        for caption in read_piece(piece, config, problems.append):
            place = f"{caption.source}:{caption.line}"
            if re.fullmatch(re.escape(piece.key) + r":\d+", caption.image):
                report(Problem(caption.source, caption.line, "names no image"))
            else:
                name = caption.image
                yield Found(join_key(name), name, None, 0, caption.text, place)
        for problem in problems:
            report(problem)

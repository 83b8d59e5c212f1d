"""Find the images and the captions of a source, each with the name by which they meet."""

import re
import tarfile
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple, Protocol

import obstore

from ram_ray.config import StoreConfig
from ram_ray.labels.captions import SUFFIXES
from ram_ray.labels.parsing.plan import Piece, cut_pieces, list_caption_files
from ram_ray.labels.parsing.shard import read_piece
from ram_ray.labels.problems import Problem
from ram_ray.storage.fetching import member_uri
from ram_ray.storage.sources import IMAGE_SUFFIXES, SourceObject, list_source
from ram_ray.storage.stores import open_bucket, split_url

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


class ReportProblem(Protocol):
    """Told about caption lines that cannot be read, and files of other kinds."""

    def __call__(self, problem: Problem) -> None: ...

    def skip(self) -> None: ...


def find_images_and_captions(
    source: str, captions: str | None, config: StoreConfig, report: ReportProblem
) -> Iterator[Found]:
    """Yield every image of `source` and every caption.

    Args:
        captions: file, folder or prefix; None: the caption files and tars of `source`.

    Raises:
        UnreachableError: source or captions cannot be listed.
    """
    for listed in list_source(source, config):
        name = listed.image_id.lower()
        if name.endswith(IMAGE_SUFFIXES):
            yield _image(listed.image_id, listed.uri, listed.size_bytes)
            continue
        if name.endswith(".tar"):
            yield from _tar_images(listed, config, report)
        elif not name.endswith(SUFFIXES):
            report.skip()
        if captions is None and name.endswith(SUFFIXES):
            yield from _captions(listed, config, report)
    if captions is not None:
        for listed in list_caption_files(captions, config):
            if listed.image_id.endswith(SUFFIXES):
                yield from _captions(listed, config, report)
            elif not listed.image_id.lower().endswith(IMAGE_SUFFIXES):
                report.skip()


def join_key(name: str) -> str:
    """Return what an image's id and its names in caption files have in common.

    Members of tars: tar and stem, for stems repeat from tar to tar. Loose files: the stem, without
    leading zeros where it is a number (COCO: image 139 is 000000000139.jpg).
    """
    tar, in_tar, member = name.partition(".tar/")
    if in_tar:
        return f"{tar}.tar/{_without_suffix(member)}"
    stem = _without_suffix(name.rsplit("/", 1)[-1])
    return stem.lstrip("0") or "0" if stem.isdecimal() else stem


_IMAGE_SUFFIX = re.compile(
    "(" + "|".join(re.escape(suffix) for suffix in IMAGE_SUFFIXES) + ")$", re.IGNORECASE
)


def _without_suffix(name: str) -> str:
    return _IMAGE_SUFFIX.sub("", name)


def _image(image_id: str, uri: str, size_bytes: int) -> Found:
    return Found(join_key(image_id), image_id, uri, size_bytes, "", "")


def _tar_images(
    listed: SourceObject, config: StoreConfig, report: Callable[[Problem], Any]
) -> Iterator[Found]:
    """Yield the image members of a tar, each addressed by where its bytes lie."""
    try:
        with _open_tar(listed.uri, config) as tar:
            for member in tar:
                if member.isfile() and member.name.lower().endswith(IMAGE_SUFFIXES):
                    uri = member_uri(listed.uri, member.offset_data, member.size)
                    yield _image(f"{listed.image_id}/{member.name}", uri, member.size)
    except (tarfile.TarError, OSError) as error:
        report(Problem(listed.image_id, 0, f"is not a whole tar file: {error}"))


def _open_tar(uri: str, config: StoreConfig) -> tarfile.TarFile:
    scheme, bucket, path = split_url(uri)
    if scheme == "file":
        return tarfile.open(path, "r:")
    # Headers lie between the members: a tar in a bucket is streamed through once.
    store = open_bucket(bucket, config, max_retries=5)
    reader = obstore.open_reader(store, uri.removeprefix(f"s3://{bucket}/"))
    return tarfile.open(fileobj=reader, mode="r:")  # pyright: ignore[reportArgumentType, reportCallIssue]


def _captions(
    listed: SourceObject, config: StoreConfig, report: Callable[[Problem], Any]
) -> Iterator[Found]:
    for piece in cut_pieces(listed, config, piece_bytes=PIECE_BYTES):
        problems: list[Problem] = []
        for caption in read_piece(piece, config, problems):
            name = _image_of(caption.image, caption.source, piece)
            place = f"{caption.source}:{caption.line}"
            if name is None:
                report(Problem(caption.source, caption.line, "names no image"))
            else:
                yield Found(join_key(name), name, None, 0, caption.text, place)
        for problem in problems:
            report(problem)


def _image_of(image: str, source: str, piece: Piece) -> str | None:
    """Return what a caption calls its image; None where its line names none."""
    if piece.key.endswith(".tar"):
        return source.rpartition(".")[0]  # "shard.tar/stem" of "shard.tar/stem.json"
    if re.fullmatch(re.escape(piece.key) + r":\d+", image):
        return None
    return image

"""All captions of a source, one at a time: for doors that need no pieces."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.labels.captions.forms import SUFFIXES
from ram_ray.labels.captions.listing import CaptionFile, is_picture, list_caption_files
from ram_ray.labels.captions.pieces import SaidOnce, cut_pieces, read_piece
from ram_ray.labels.captions.rows import Caption
from ram_ray.labels.problems import BAD_FILE, Problem, Report
from ram_ray.storage.sources import OnPassed
from ram_ray.storage.stores import split_url
from ram_ray.storage.tars import COMPRESSED

_PIECE_BYTES = 16 << 20
"""Of a caption file, in memory at a time."""


def read_captions(
    source: str | Path,
    report: Report,
    config: StoreConfig | None = None,
    columns: Sequence[str] | None = None,
) -> Iterator[Caption]:
    """Yield the captions of a file, or of every caption file in a folder or prefix, by name.

    Args:
        report: told every line that gives no caption.
        columns: what the columns of tables without names are, in order.

    Raises:
        ConfigError: there is no such file, its name tells no format, or columns cannot be told.
        UnreachableError: the source cannot be listed or read.
    """
    config = config or StoreConfig()
    source = str(source)
    _check_source(source)
    files = 0
    said_once = SaidOnce()
    for one in list_caption_files(source, config, columns, passed_as_problem(report)):
        if not isinstance(one, CaptionFile):
            report_compressed(one.image_id, report)
            continue
        files += one.form.kind != "stats"
        for piece in cut_pieces(one, config, piece_bytes=_PIECE_BYTES):
            yield from said_once(piece, read_piece(piece, config, report))
    if not files:
        raise ConfigError(f"captions is {source!r}, but holds no {', '.join(SUFFIXES)}.")


def passed_as_problem(report: Callable[[Problem], Any]) -> OnPassed:
    """Return an `OnPassed` that says of each place what it is."""

    def on_passed(place: str, why: str) -> None:
        report(Problem(place, 0, f"is a {why}", BAD_FILE))

    return on_passed


def report_compressed(name: str, report: Callable[[Problem], Any]) -> bool:
    """Say of a tar that it is compressed; False where it is something else."""
    compressed = name.lower().endswith(COMPRESSED)
    if compressed:
        message = "is a compressed tar, whose members have no place: unpack it to .tar"
        report(Problem(name, 0, message, BAD_FILE))
    return compressed


def _check_source(source: str) -> None:
    scheme, _, path = split_url(source)
    if scheme != "file" or Path(path).is_dir():
        return
    known = (*SUFFIXES, *COMPRESSED)
    if not Path(path).is_file() or is_picture(path) or not path.lower().endswith(known):
        what = f"ends in none of {SUFFIXES}" if Path(path).exists() else "is no file or folder"
        raise ConfigError(f"captions is {source!r}, which {what}.")

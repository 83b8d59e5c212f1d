"""One JSON object, or one row of a table, to its captions and the name of their image.

docs/captions-and-labels.md lists the tools that write these fields.
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ram_ray.labels.problems import NOT_DOWNLOADED, Problem, Report
from ram_ray.storage.sources import PICTURE_SUFFIXES

MAX_CAPTION_CHARS = 10_000
"""Longer texts are whole pages, not captions: reported."""
FIELDS = ("captions", "caption", "text", "sentences", "sentence", "comment", "raw")
"""Where a row holds its captions, the first one there; a text or a list. Case does not matter."""
TABLE_FIELDS = (*FIELDS, "title")
"""In a table with a header, also OpenCLIP's column of texts."""
NAMES = ("image_id", "file_name", "filename", "key", "image", "image_path", "filepath", "path",
         "image_name", "img", "url")  # fmt: skip
"""Where it names the image. A value that ends like a picture's file wins, then the first there;
the address that a picture came from comes last."""

# A letter of the Latin script: the parser and the lists are English
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")


class Caption(NamedTuple):
    """One caption and where it stands."""

    text: str
    image: str
    """The image's name where the file tells one, else file and line: captions with the same
    `image` are of the same picture."""
    source: str
    line: int


def captions_of_row(
    row: object, image: str, source: str, line: int, report: Report, *, owned: bool = False
) -> Iterator[Caption]:
    """Yield the captions of one object, row or text.

    Args:
        image: what the image is called where the row does not say.
        owned: the row stands beside its image, so what it says of a name does not count, and it
            may say something else than captions.
    """
    if isinstance(row, str):
        row = {"caption": row}
    if not isinstance(row, dict):
        report(Problem(source, line, "is neither an object nor a text"))
        return
    row = {str(name).strip().lower(): value for name, value in row.items()}
    if not owned and is_lost_download(row):
        message = f"was not downloaded (status {row['status']}): no image"
        report(Problem(source, line, message, NOT_DOWNLOADED))
        return
    fields = TABLE_FIELDS if "filepath" in row else FIELDS
    field = next((name for name in fields if row.get(name) is not None), None)
    if field is None:
        if owned:
            return
        report(Problem(source, line, f"has none of the fields {', '.join(FIELDS)}"))
        return
    texts = row[field] if isinstance(row[field], list) else [row[field]]
    if not owned:
        image = image_name(row) or image
    yield from checked(map(_text_of, texts), image, source, line, report)


def checked(
    texts: Iterable[object], image: str, source: str, line: int, report: Report
) -> Iterator[Caption]:
    """Yield what is a caption; report what is none."""
    for text in texts:
        if not isinstance(text, str):
            report(Problem(source, line, f"holds {text!r:.40} where a caption belongs"))
        elif not text.strip():
            report(Problem(source, line, "holds an empty caption"))
        elif len(text) > MAX_CAPTION_CHARS:
            size = f"{len(text)} characters, more than {MAX_CAPTION_CHARS}"
            report(Problem(source, line, f"holds a caption of {size}"))
        elif any("\ud800" <= letter <= "\udfff" for letter in text):
            report(Problem(source, line, "is not UTF-8"))
        elif not _LATIN.search(text):
            report(Problem(source, line, "holds a caption without a Latin letter"))
        else:
            yield Caption(text.strip(), image, source, line)


def image_name(row: Mapping[str, Any]) -> str | None:
    """Return what a row calls its image; None where it does not. Field names are in lower case."""
    told = [(name, _name_of(row[name])) for name in NAMES if row.get(name) is not None]
    told = [(name, value) for name, value in told if value]
    files = [value for name, value in told if name != "url" and is_file_name(value)]
    return next(iter(files or [value for _, value in told]), None)


def is_file_name(text: str) -> bool:
    """Tell whether a text ends like the name of a picture."""
    return text.lower().endswith(PICTURE_SUFFIXES)


def is_lost_download(row: Mapping[str, Any]) -> bool:
    """Tell whether img2dataset says that it has no picture of this row."""
    status = row.get("status")
    if not isinstance(status, str) or "key" not in row or "url" not in row:
        return False
    return status != "success" and not any(
        isinstance(value, (bytes, dict)) for name, value in row.items() if name != "exif"
    )


def _name_of(value: object) -> str | None:
    """Return a name as it stands there: 0 is one, and so is the path of a picture in the row."""
    if isinstance(value, dict):  # `datasets`: {"bytes": ..., "path": ...}
        value = value.get("path")
    if isinstance(value, bool) or not isinstance(value, (str, int)):
        return None
    return str(value) if str(value).strip() else None


def _text_of(value: object) -> object:
    """Return the text of one of Karpathy's sentences, {"raw": text, "tokens": [...]}."""
    return value.get("raw", value) if isinstance(value, dict) else value

"""One caption file, or a piece of it, to its captions, whatever its form.

A line that holds no caption is reported with its number and passed over; nothing raises but a
file that cannot be opened.
"""

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

from ram_model.text_files import other_encoding
from ram_ray.labels.captions.forms import FLICKR, Form
from ram_ray.labels.captions.rows import FIELDS, NAMES, Caption, captions_of_row, checked
from ram_ray.labels.captions.tar_texts import captions_of_tar
from ram_ray.labels.problems import Problem, Report


class CaptionSource(NamedTuple):
    """Bytes on this machine, and what they are called."""

    path: Path
    name: str
    """Of the file in its source: stands in ids and problems."""
    form: Form
    first_line: int = 1
    """Number of the first line of a piece."""
    images: tuple[str, ...] = ()
    """Ids of the images that the file stands beside."""


def read_file(source: CaptionSource, report: Report) -> Iterator[Caption]:
    """Yield the captions of a file.

    Raises:
        OSError: it cannot be opened.
    """
    yield from _READERS[source.form.kind](source, report)


def _read_lines(source: CaptionSource, report: Report) -> Iterator[Caption]:
    name = source.name
    for number, line in _lines(source, report):
        match = FLICKR.fullmatch(line)
        if match is None:
            yield from checked([line], f"{name}:{number}", name, number, report)
            continue
        if match["separator"] != "\t":
            report(Problem(name, number, "a space where a tab belongs; read all the same"))
        image = match["key"].partition("#")[0]
        yield from checked([match["text"]], image, name, number, report)


def _read_jsonl(source: CaptionSource, report: Report) -> Iterator[Caption]:
    name = source.name
    for number, line in _lines(source, report):
        try:
            row = json.loads(line)
        except ValueError as error:
            report(Problem(name, number, f"is not JSON: {error}"))
            continue
        yield from captions_of_row(row, f"{name}:{number}", name, number, report)


def _read_json(source: CaptionSource, report: Report) -> Iterator[Caption]:
    name = source.name
    loaded = _load_json(source, report)
    if loaded is None:
        return
    for number, row in enumerate(_rows_of_json(loaded), start=1):
        yield from captions_of_row(row, f"{name}:{number}", name, number, report)


def _rows_of_json(loaded: Any) -> list[Any]:
    """Return the rows of a list, of COCO's captions, Karpathy's splits or SBU's parallel lists."""
    if not isinstance(loaded, dict):
        return loaded if isinstance(loaded, list) else [loaded]
    images, rows = loaded.get("images"), loaded.get("annotations")
    if isinstance(rows, list):
        names = {}
        if isinstance(images, list):
            named = [image for image in images if isinstance(image, dict)]
            names = {image.get("id"): image.get("file_name") for image in named}
        return [_named(row, names) for row in rows]
    if isinstance(images, list) and any("sentences" in image for image in images):
        return images
    addresses, texts = loaded.get("image_urls"), loaded.get("captions")
    if isinstance(addresses, list) and isinstance(texts, list) and len(addresses) == len(texts):
        pairs = zip(addresses, texts, strict=True)
        return [{"url": address, "caption": text} for address, text in pairs]
    return [loaded]


def _named(row: Any, names: dict[Any, Any]) -> Any:
    """Add the file's name that COCO keeps under `images`, by the number of the image."""
    number = row.get("image_id") if isinstance(row, dict) else None
    if isinstance(number, (int, str)) and names.get(number) and not row.get("file_name"):
        return row | {"file_name": names[number]}
    return row


def _read_table(source: CaptionSource, report: Report) -> Iterator[Caption]:
    form, name = source.form, source.name
    assert form.columns is not None
    with source.path.open("rb") as file:
        if _is_other_encoding(file.read(4), source, report):
            return
    # Bytes that are not UTF-8 become lone surrogates: their row is reported, the others are kept.
    with source.path.open(encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        quoting = csv.QUOTE_MINIMAL if form.quoted else csv.QUOTE_NONE
        blanks = form.quoted  # behind a delimiter they belong to nothing; in quotes they do
        lines = csv.reader(file, delimiter=form.delimiter, quoting=quoting, skipinitialspace=blanks)
        try:
            for cells in lines:
                number = source.first_line + lines.line_num - 1
                if number == 1 and form.has_header:
                    continue
                if not any(cell.strip() for cell in cells):
                    report(Problem(name, number, "is empty"))
                    continue
                row = dict(zip(form.columns, cells, strict=False))
                if len(cells) != len(form.columns):
                    wanted = len(form.columns)
                    message = f"has {len(cells)} columns instead of {wanted}"
                    report(Problem(name, number, message))
                    continue
                yield from captions_of_row(row, f"{name}:{number}", name, number, report)
        except csv.Error as error:
            report(Problem(name, 0, f"is no table from line {lines.line_num} on: {error}"))


def _read_parquet(source: CaptionSource, report: Report) -> Iterator[Caption]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    name = source.name
    try:
        with pq.ParquetFile(source.path) as file:
            number = 0
            for batch in file.iter_batches(columns=caption_columns(file.schema_arrow)):
                for row in batch.to_pylist():
                    number += 1
                    yield from captions_of_row(row, f"{name}:{number}", name, number, report)
    except pa.ArrowInvalid as error:
        report(Problem(name, 0, f"is not Parquet: {error}"))


def caption_columns(schema: Any) -> list[str]:
    """Return the columns of a Parquet file that captions need; never the bytes of its pictures.

    Args:
        schema: a `pyarrow.Schema`.
    """
    import pyarrow as pa

    wanted = (*FIELDS, *NAMES, "status")
    columns: list[str] = []
    for field in schema:
        if field.name.lower() not in wanted or pa.types.is_binary(field.type):
            continue
        if pa.types.is_struct(field.type):
            inner = {child.name for child in field.type}
            columns += [f"{field.name}.path"] if "path" in inner else []
        else:
            columns.append(field.name)
    return columns


def _read_tar(source: CaptionSource, report: Report) -> Iterator[Caption]:
    with source.path.open("rb") as file:
        yield from captions_of_tar(file, source.name, report)


def _read_text(source: CaptionSource, report: Report) -> Iterator[Caption]:
    """Read a file beside its image: all of it is one caption."""
    data = source.path.read_bytes()
    if _is_other_encoding(data, source, report):
        return
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        report(Problem(source.name, 0, "is not UTF-8"))
        return
    for image in source.images:
        yield from checked([text], image, source.name, 1, report)


def _read_object(source: CaptionSource, report: Report) -> Iterator[Caption]:
    row = _load_json(source, report)
    for image in source.images if row is not None else ():
        yield from captions_of_row(row, image, source.name, 1, report, owned=True)


def _read_stats(source: CaptionSource, report: Report) -> Iterator[Caption]:
    del source, report
    yield from ()


_READERS = {
    "lines": _read_lines,
    "jsonl": _read_jsonl,
    "json": _read_json,
    "table": _read_table,
    "parquet": _read_parquet,
    "tar": _read_tar,
    "text": _read_text,
    "object": _read_object,
    "stats": _read_stats,
}


def _load_json(source: CaptionSource, report: Report) -> Any:
    data = source.path.read_bytes()
    try:
        return json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except ValueError as error:
        report(Problem(source.name, 0, f"is not JSON: {error}"))
        return None


def _lines(source: CaptionSource, report: Report) -> Iterator[tuple[int, str]]:
    """Yield the lines that are UTF-8 and not empty, with their numbers."""
    with source.path.open("rb") as file:
        for number, raw in enumerate(file, start=source.first_line):
            if number == 1 and _is_other_encoding(raw, source, report):
                return
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                report(Problem(source.name, number, "is not UTF-8"))
                continue
            if line.strip():
                yield number, line
            else:
                report(Problem(source.name, number, "is empty"))


def _is_other_encoding(head: bytes, source: CaptionSource, report: Report) -> bool:
    other = other_encoding(head)
    if other is not None:
        report(Problem(source.name, 0, f"is {other} text; save it as UTF-8"))
    return other is not None

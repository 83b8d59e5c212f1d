"""Captions of a corpus, one at a time: JSONL, CSV, Parquet, tars, plain text, Flickr8k's own files.

A line that holds no caption is reported with its number and passed over; nothing raises but a
file that cannot be opened.
"""

import csv
import json
import re
import tarfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from ram_ray.errors import ConfigError
from ram_ray.labels.problems import Problem, Report

MAX_CAPTION_CHARS = 10_000
"""Longer texts are whole pages, not captions: reported."""
FIELDS = ("captions", "caption", "text", "sentences")
"""Where a JSON object or a table holds its captions, the first one there; a text or a list."""
KEYS = ("image_id", "file_name", "key", "image")
"""Where it names the image, the first one there."""
SUFFIXES = (".jsonl", ".ndjson", ".json", ".csv", ".parquet", ".tar", ".txt", ".token", ".tsv")

# Flickr8k.token.txt: name.jpg#0, a tab, the caption; a few of its lines have a space for the tab
_FLICKR = re.compile(r"(?P<key>\S+\.(?:jpe?g|png)(?:\.\d+)?#\d+)(?P<separator>\s+)(?P<text>.*)")
# A letter of the Latin script: the parser and the lists are English
_LATIN = re.compile(r"[A-Za-z\u00c0-\u024f]")


class Caption(NamedTuple):
    """One caption and where it stands."""

    text: str
    image: str
    """The image's key where the file names one, else file and line: captions with the same
    `image` are of the same picture."""
    source: str
    line: int


def read_captions(path: str | Path, report: Report) -> Iterator[Caption]:
    """Yield the captions of a file, or of every caption file in a folder, by name.

    Raises:
        ConfigError: there is no such file, or its name tells no format.
    """
    path = Path(path)
    if path.is_dir():
        files = sorted(file for file in path.rglob("*") if file.suffix in SUFFIXES)
        if not files:
            raise ConfigError(f"captions is {str(path)!r}, but holds no {', '.join(SUFFIXES)}.")
    elif path.is_file() and path.suffix in SUFFIXES:
        files = [path]
    else:
        what = "is no file or folder" if not path.exists() else f"ends in none of {SUFFIXES}"
        raise ConfigError(f"captions is {str(path)!r}, which {what}.")
    for file in files:
        yield from _READERS.get(file.suffix, _read_text)(file, report)


def _read_text(path: Path, report: Report) -> Iterator[Caption]:
    for number, line in _lines(path, report):
        match = _FLICKR.fullmatch(line)
        if match is None:
            yield from _checked([line], f"{path.name}:{number}", str(path), number, report)
            continue
        if match["separator"] != "\t":
            report(Problem(str(path), number, "a space where a tab belongs; read all the same"))
        image = match["key"].partition("#")[0]
        yield from _checked([match["text"]], image, str(path), number, report)


def _read_jsonl(path: Path, report: Report) -> Iterator[Caption]:
    for number, line in _lines(path, report):
        yield from _of_json(line, f"{path.name}:{number}", str(path), number, report)


def _read_json(path: Path, report: Report) -> Iterator[Caption]:
    """Read a JSON file: one object, a list of them, or COCO's {"annotations": [...]}."""
    try:
        loaded = json.loads(path.read_bytes())
    except ValueError as error:
        report(Problem(str(path), 0, f"is not JSON: {error}"))
        return
    rows = loaded.get("annotations", [loaded]) if isinstance(loaded, dict) else loaded
    for number, row in enumerate(rows, start=1):
        yield from _of_object(row, f"{path.name}:{number}", str(path), number, report)


def _read_csv(path: Path, report: Report) -> Iterator[Caption]:
    """Read a CSV whose header names one of FIELDS, and one of KEYS for the image."""
    try:
        with path.open(encoding="utf-8-sig", errors="strict", newline="") as file:
            reader = csv.DictReader(file)
            for row in reader:
                number = reader.line_num
                yield from _of_object(row, f"{path.name}:{number}", str(path), number, report)
    except (csv.Error, UnicodeDecodeError) as error:
        report(Problem(str(path), 0, f"is not CSV from some line on: {error}"))


def _read_parquet(path: Path, report: Report) -> Iterator[Caption]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        with pq.ParquetFile(path) as file:
            names = [name for name in (*FIELDS, *KEYS) if name in file.schema_arrow.names]
            number = 0
            for batch in file.iter_batches(columns=names):
                for row in batch.to_pylist():
                    number += 1
                    yield from _of_object(row, f"{path.name}:{number}", str(path), number, report)
    except pa.ArrowInvalid as error:
        report(Problem(str(path), 0, f"is not Parquet: {error}"))


def _read_tar(path: Path, report: Report) -> Iterator[Caption]:
    """Read a WebDataset tar: `stem.json` with a field of captions, or `stem.txt`."""
    try:
        with tarfile.open(path) as tar:
            for number, member in enumerate(tar, start=1):
                stem, _, suffix = member.name.rpartition(".")
                if not member.isfile() or suffix not in ("json", "txt"):
                    continue
                data = tar.extractfile(member)
                text = b"" if data is None else data.read()
                try:
                    decoded = text.decode("utf-8")
                except UnicodeDecodeError:
                    report(Problem(f"{path}/{member.name}", number, "is not UTF-8"))
                    continue
                if suffix == "json":
                    yield from _of_json(decoded, stem, f"{path}/{member.name}", number, report)
                else:
                    yield from _checked([decoded], stem, f"{path}/{member.name}", number, report)
    except tarfile.TarError as error:
        report(Problem(str(path), 0, f"is not a tar file: {error}"))


_READERS = {
    ".jsonl": _read_jsonl,
    ".ndjson": _read_jsonl,
    ".json": _read_json,
    ".csv": _read_csv,
    ".parquet": _read_parquet,
    ".tar": _read_tar,
}


def _of_json(text: str, image: str, source: str, line: int, report: Report) -> Iterator[Caption]:
    try:
        row = json.loads(text)
    except ValueError as error:
        report(Problem(source, line, f"is not JSON: {error}"))
        return
    yield from _of_object(row, image, source, line, report)


def _of_object(
    row: object, image: str, source: str, line: int, report: Report
) -> Iterator[Caption]:
    if isinstance(row, str):
        row = {"caption": row}
    if not isinstance(row, dict):
        report(Problem(source, line, "is neither an object nor a text"))
        return
    field = next((name for name in FIELDS if row.get(name) is not None), None)
    if field is None:
        report(Problem(source, line, f"has none of the fields {', '.join(FIELDS)}"))
        return
    key = next((row[name] for name in KEYS if row.get(name)), image)
    texts = row[field] if isinstance(row[field], list) else [row[field]]
    yield from _checked(texts, str(key), source, line, report)


def _checked(
    texts: Iterable[object], image: str, source: str, line: int, report: Report
) -> Iterator[Caption]:
    for text in texts:
        if not isinstance(text, str):
            report(Problem(source, line, f"holds {text!r:.40} where a caption belongs"))
        elif not text.strip():
            report(Problem(source, line, "holds an empty caption"))
        elif len(text) > MAX_CAPTION_CHARS:
            size = f"{len(text)} characters, more than {MAX_CAPTION_CHARS}"
            report(Problem(source, line, f"holds a caption of {size}"))
        elif not _LATIN.search(text):
            report(Problem(source, line, "holds a caption without a Latin letter"))
        else:
            yield Caption(text.strip(), image, source, line)


def _lines(path: Path, report: Report) -> Iterator[tuple[int, str]]:
    """Yield the lines that are UTF-8 and not empty, with their numbers."""
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r\n")
            except UnicodeDecodeError:
                report(Problem(str(path), number, "is not UTF-8"))
                continue
            if line.strip():
                yield number, line
            else:
                report(Problem(str(path), number, "is empty"))

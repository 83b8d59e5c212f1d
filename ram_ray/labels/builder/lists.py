"""Lists of tags that people bring: what formats there are, and how each becomes entries.

A format is told by the content, so that a user only names files:

  lvis       JSON, [{"name", "synonyms", ...}] or {"categories": [...]} as LVIS and COCO publish
  json       JSON, a list of names or of {"name", "aliases", "kind", "parents"}
  csv        a header with `name`, and `aliases`, `parents` (both `a|b`), `kind` if wanted
  imagenet   n02084071, then a tab and names; or the number alone
  openimages /m/0bt9lr,Dog as in class-descriptions.csv
  hico       person VERB OBJECT, one interaction a line
  plain      one tag a line; a comma between names of the same thing

An entry that is no name of a tag is reported with its line.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

from ram_model.config import KINDS
from ram_model.text_files import other_encoding
from ram_ray.errors import ConfigError
from ram_ray.labels.builder.names import BadNameError, Name, clean
from ram_ray.labels.lexicon import Lexicon
from ram_ray.labels.problems import Problem, Report

_SYNSET_LINE = re.compile(r"n(\d{8})(?:\s+(.*))?")
_FREEBASE_LINE = re.compile(r"(/m/\w+|/g/\w+),(.+)")


@dataclass(frozen=True, kw_only=True, slots=True)
class Entry:
    """One tag of a list."""

    names: tuple[Name, ...]
    """Names of the same thing; the first is the list's own for it."""
    line: int
    """Where it stands; for JSON its number in the list. From 1."""
    kind: str = ""
    """One of the vocabulary's kinds; "" where the list does not tell."""
    parents: tuple[str, ...] = ()
    synset: int | None = None
    """The lexicon's synset, where the list gives one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SourceList:
    """A list that was read."""

    name: str
    entries: tuple[Entry, ...]
    cover: bool = True
    """Whether every entry is to become a tag."""

    @property
    def tells_kinds(self) -> bool:
        """Whether the entries have a kind."""
        return bool(self.entries[0].kind)


def read_list(
    path: str | Path,
    lexicon: Lexicon,
    report: Report,
    *,
    name: str = "",
    kind: str = "",
    cover: bool = True,
) -> SourceList:
    """Return the list in a file.

    Args:
        name: what the list is called in reports; "": the file's stem.
        kind: of every entry that has none of its own.
        cover: whether every entry is to become a tag.

    Raises:
        ConfigError: the file cannot be read, or holds no entry.
    """
    path = Path(path)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"list is {str(path)!r}, which cannot be read: {error}.") from error
    reader = _reader_of(path, data)
    entries: list[Entry] = []
    problems: list[Problem] = []
    first_line: dict[tuple[str, str], int] = {}
    for raw in reader(path, data, lexicon, problems.append):
        entry = _cleaned(raw, kind, path, problems.append)
        if entry is None:
            continue
        key = (entry.names[0].full.casefold(), entry.kind)
        if key in first_line:
            message = f"{entry.names[0].full!r} repeats line {first_line[key]}"
            if raw.report_repeats:
                problems.append(Problem(str(path), entry.line, message))
            continue
        first_line[key] = entry.line
        entries.append(entry)
    if not entries:
        first = f": {problems[0]}" if problems else ""
        raise ConfigError(f"list is {str(path)!r}, which holds no tag that can be used{first}.")
    for problem in sorted(problems, key=lambda problem: problem.line):
        report(problem)
    return SourceList(name=name or path.stem, entries=tuple(entries), cover=cover)


@dataclass(frozen=True, slots=True)
class _Raw:
    """An entry as the file spells it."""

    line: int
    names: list[object]
    kind: str = ""
    parents: tuple[str, ...] = ()
    synset: int | None = None
    report_repeats: bool = True


_Reader = Callable[[Path, bytes, Lexicon, Report], Iterator[_Raw]]


def _reader_of(path: Path, data: bytes) -> _Reader:
    head = data[:20_000].decode("utf-8-sig", errors="replace").lstrip()
    lines = [line for line in head.splitlines() if line.strip()][:50]
    if path.suffix == ".json" or head.startswith(("[", "{")):
        return _read_json
    if _share(lines, _FREEBASE_LINE.fullmatch) > 0.5:
        return _read_openimages
    if lines and "name" in re.split(r"[,\t]", lines[0].strip().casefold()):
        return _read_csv
    if _share(lines, _SYNSET_LINE.fullmatch) > 0.5:
        return _read_imagenet
    if _share(lines, lambda line: line.startswith("person ") and line.count(" ") == 2) > 0.9:
        return _read_hico
    return _read_plain


def _share(lines: list[str], holds: Callable[[str], object]) -> float:
    return sum(bool(holds(line.strip())) for line in lines) / (len(lines) or 1)


def _read_json(path: Path, data: bytes, lexicon: Lexicon, report: Report) -> Iterator[_Raw]:
    del lexicon
    try:
        loaded = json.loads(data)
    except ValueError as error:
        raise ConfigError(f"list is {str(path)!r}, which is not JSON: {error}.") from error
    rows = loaded.get("categories") if isinstance(loaded, dict) else loaded
    if not isinstance(rows, list):
        raise ConfigError(f"list is {str(path)!r}, but must hold a JSON list of tags.")
    for number, row in enumerate(rows, start=1):
        if isinstance(row, str):
            yield _Raw(number, [row])
        elif isinstance(row, dict) and "name" in row:
            names = [row["name"], *_list(row.get("synonyms")), *_list(row.get("aliases"))]
            parents = [*_list(row.get("parents")), *_list(row.get("supercategory"))]
            kind = str(row.get("kind") or "")
            yield _Raw(number, names, kind, tuple(map(str, parents)))
        else:
            report(Problem(str(path), number, "is neither a name nor an object with `name`"))


def _read_csv(path: Path, data: bytes, lexicon: Lexicon, report: Report) -> Iterator[_Raw]:
    del lexicon
    text = "\n".join(line for _, line in _text_lines(path, data, report, keep_bad=True))
    header = text.partition("\n")[0]
    rows = csv.DictReader(io.StringIO(text), delimiter="\t" if "\t" in header else ",")
    rows.fieldnames = [name.strip().casefold() for name in rows.fieldnames or ()]
    for row in rows:
        names = [row.get("name") or "", *_split(row.get("aliases"))]
        kind, parents = (row.get("kind") or "").strip(), tuple(_split(row.get("parents")))
        yield _Raw(rows.line_num, list(names), kind, parents)


def _read_imagenet(path: Path, data: bytes, lexicon: Lexicon, report: Report) -> Iterator[_Raw]:
    for number, line in _text_lines(path, data, report):
        match = _SYNSET_LINE.fullmatch(line.strip())
        if match is None:
            report(Problem(str(path), number, "does not begin with a synset like n02084071"))
            continue
        synset = lexicon.synset_at(int(match[1]))
        names = _split(match[2], ",") or ([] if synset is None else lexicon.lemmas(synset))
        if names:
            yield _Raw(number, list(names), "object", synset=synset, report_repeats=False)
        else:
            report(Problem(str(path), number, f"n{match[1]} has no name here or in WordNet 3.0"))


def _read_openimages(path: Path, data: bytes, lexicon: Lexicon, report: Report) -> Iterator[_Raw]:
    del lexicon
    for number, line in _text_lines(path, data, report):
        match = _FREEBASE_LINE.fullmatch(line.strip())
        if match:
            yield _Raw(number, [match[2].strip('"')])
        elif number > 1:  # the first line may be a header
            report(Problem(str(path), number, "does not begin with an id like /m/0bt9lr,"))


def _read_hico(path: Path, data: bytes, lexicon: Lexicon, report: Report) -> Iterator[_Raw]:
    del lexicon
    for number, line in _text_lines(path, data, report):
        words = line.split()
        if len(words) != 3 or words[0] != "person":
            report(Problem(str(path), number, "is not `person VERB OBJECT`"))
            continue
        if words[1] != "no_interaction":
            yield _Raw(number, [words[1]], "action", report_repeats=False)
        yield _Raw(number, [words[2]], "object", report_repeats=False)


def _read_plain(path: Path, data: bytes, lexicon: Lexicon, report: Report) -> Iterator[_Raw]:
    del lexicon
    for number, line in _text_lines(path, data, report):
        yield _Raw(number, list(_split(line, ",") or [line]))


def _cleaned(raw: _Raw, kind: str, path: Path, report: Report) -> Entry | None:
    names: list[Name] = []
    for text in raw.names:
        try:
            name = clean(text if isinstance(text, str) else repr(text))
        except BadNameError as error:
            report(Problem(str(path), raw.line, str(error)))
            if not names:
                return None  # without its own name an entry is nothing; an alias can be missed
            continue
        if name not in names:
            names.append(name)
    own = raw.kind.casefold()
    if own and own not in KINDS:
        allowed = ", ".join(KINDS)
        report(Problem(str(path), raw.line, f"has the kind {own!r}, which is none of {allowed}"))
        own = ""
    return Entry(
        names=tuple(names),
        line=raw.line,
        kind=own or kind,
        parents=raw.parents,
        synset=raw.synset,
    )


def _text_lines(
    path: Path, data: bytes, report: Report, *, keep_bad: bool = False
) -> Iterator[tuple[int, str]]:
    """Yield numbered lines; broken and empty ones are reported, and empty where `keep_bad`."""
    other = other_encoding(data)
    if other is not None:
        raise ConfigError(f"list is {str(path)!r}, which is {other} text; save it as UTF-8.")
    lines = data.removesuffix(b"\n").split(b"\n")
    for number, raw in enumerate(lines, start=1):
        try:
            line = raw.decode("utf-8-sig" if number == 1 else "utf-8").rstrip("\r")
            problem = "" if line.strip() else "is empty"
        except UnicodeDecodeError:
            line, problem = "", "is not UTF-8"
        if problem:
            report(Problem(str(path), number, problem))
        if not problem or keep_bad:
            yield number, line


def _list(value: object) -> list[object]:
    return [] if value is None else value if isinstance(value, list) else [value]


def _split(text: str | None, separator: str = "|") -> list[str]:
    return [part.strip() for part in (text or "").split(separator) if part.strip()]

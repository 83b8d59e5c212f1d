"""Vocabularies in and out of files: RAM's text lists, JSON, CSV and Parquet, told by the suffix.

  .parquet  the model's layout (`ram_model.vocabulary`)
  .json     [{"name", "name_zh", "threshold", "kind", "aliases", "parents"}, ...], in id order
  .csv      a header with the same columns and tag_id; `a|b` for several
  .txt      one name a line, as RAM publishes its list; NAME_threshold.txt and NAME_chinese.txt
            beside it, where they are

Parents are tag ids. A threshold that a file does not have is the one given as default.
"""

import csv
import io
import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ram_model.errors import CheckpointError, TextFileError
from ram_model.text_files import read_lines, read_text
from ram_model.vocabulary import Vocabulary
from ram_ray.errors import ConfigError

COLUMNS = ("name", "name_zh", "threshold", "kind", "aliases", "parents")
DEFAULT_THRESHOLD = 0.65
"""RAM's commonest (3,414 of its 4,585 tags)."""
_SEPARATOR = "|"


def read_vocabulary(
    path: str | Path,
    *,
    thresholds: str | Path | None = None,
    names_zh: str | Path | None = None,
    default_threshold: float = DEFAULT_THRESHOLD,
) -> Vocabulary:
    """Return the vocabulary in a file; spaces around names are trimmed.

    Args:
        thresholds: one number a line, in id order; wins over the file's own.
        names_zh: one Chinese name a line, in id order; wins over the file's own.

    Raises:
        ConfigError: a file cannot be read, or its lines do not fit; names the line.
    """
    path = Path(path)
    reader = _choose({".parquet": _read_parquet, ".json": _read_json, ".csv": _read_csv,
                      ".txt": _read_txt}, path)  # fmt: skip
    try:
        vocabulary = reader(path, default_threshold)
    except (OSError, TextFileError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    except (CheckpointError, ValueError, KeyError, TypeError) as error:
        raise ConfigError(f"{path} is not a vocabulary: {error}") from error
    if thresholds is not None:
        vocabulary = _with(vocabulary, thresholds=read_thresholds(thresholds, len(vocabulary)))
    if names_zh is not None:
        vocabulary = _with(vocabulary, names_zh=_aligned(Path(names_zh), len(vocabulary)))
    return vocabulary


def write_vocabulary(vocabulary: Vocabulary, path: str | Path) -> list[Path]:
    """Write a vocabulary in the format of the suffix and return the files written.

    Raises:
        ConfigError: the suffix is of no format, or a name cannot stand in it.
    """
    path = Path(path)
    writer = _choose({".parquet": _write_parquet, ".json": _write_json, ".csv": _write_csv,
                      ".txt": _write_txt}, path)  # fmt: skip
    path.parent.mkdir(parents=True, exist_ok=True)
    return writer(vocabulary, path)


def read_thresholds(path: str | Path, count: int) -> np.ndarray:
    """Return float32 [count], one threshold a line, 0..1.

    Raises:
        ConfigError: another number of lines, or a line that is no threshold; names it.
    """
    values = []
    for number, line in enumerate(_aligned(Path(path), count), start=1):
        values.append(_threshold(line, f"{path}:{number}"))
    return np.array(values, np.float32)


def _threshold(text: str, place: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 1:
        raise ConfigError(f"{place} is {text!r}, but a threshold must be between 0 and 1.")
    return value


def _aligned(path: Path, count: int) -> tuple[str, ...]:
    try:
        lines = _lines(path)
    except (OSError, TextFileError) as error:
        raise ConfigError(f"{path} cannot be read: {error}.") from error
    if len(lines) != count:
        raise ConfigError(f"{path} holds {len(lines)} lines, but must hold {count}, one a tag.")
    return tuple(lines)


def _lines(path: Path) -> list[str]:
    return [line.strip() for line in read_lines(path)] or [""]


def _read_parquet(path: Path, default_threshold: float) -> Vocabulary:
    del default_threshold
    vocabulary = Vocabulary.from_parquet(path)
    return _with(vocabulary, names_zh=tuple(name.strip() for name in vocabulary.names_zh))


def _read_txt(path: Path, default_threshold: float) -> Vocabulary:
    names = _lines(path)
    empty = [number for number, name in enumerate(names, start=1) if not name]
    if empty:
        raise ConfigError(f"{path}:{empty[0]} is empty, but every line must name a tag.")
    vocabulary = Vocabulary(
        names=tuple(names), thresholds=np.full(len(names), default_threshold, np.float32)
    )
    beside = {"threshold": _beside(path, "threshold"), "chinese": _beside(path, "chinese")}
    if beside["threshold"].exists():
        values = read_thresholds(beside["threshold"], len(names))
        vocabulary = _with(vocabulary, thresholds=values)
    if beside["chinese"].exists():
        vocabulary = _with(vocabulary, names_zh=_aligned(beside["chinese"], len(names)))
    return vocabulary


def _read_json(path: Path, default_threshold: float) -> Vocabulary:
    rows = json.loads(read_text(path))
    if not isinstance(rows, list):
        raise ConfigError(f"{path} must hold a list of tags.")
    return _from_rows(
        [row if isinstance(row, dict) else {"name": row} for row in rows],
        default_threshold,
        path,
    )


def _read_csv(path: Path, default_threshold: float) -> Vocabulary:
    rows = list(csv.DictReader(io.StringIO(read_text(path), newline="")))
    for row in rows:
        for name in ("aliases", "parents"):
            row[name] = [part for part in (row.get(name) or "").split(_SEPARATOR) if part]
    ids = [row.get("tag_id") for row in rows]
    if any(ids) and ids != [str(number) for number in range(len(ids))]:
        raise ConfigError(f"{path} must have the tag ids 0, 1, 2, ... in order.")
    return _from_rows(rows, default_threshold, path)


def _from_rows(rows: Sequence[dict[str, Any]], default: float, path: Path) -> Vocabulary:
    for number, row in enumerate(rows, start=1):
        if not isinstance(row.get("name"), str) or not row["name"].strip():
            raise ConfigError(f"{path}, tag {number}: has no name.")
    thresholds = [
        default
        if row.get("threshold") in (None, "")
        else _threshold(str(row["threshold"]), f"{path}, tag {number}: threshold")
        for number, row in enumerate(rows, start=1)
    ]
    return Vocabulary(
        names=tuple(row["name"].strip() for row in rows),
        names_zh=tuple((row.get("name_zh") or "").strip() for row in rows),
        thresholds=np.array(thresholds, np.float32),
        kinds=tuple(row.get("kind") or "other" for row in rows),
        aliases=tuple(tuple(row.get("aliases") or ()) for row in rows),
        parents=tuple(tuple(map(int, row.get("parents") or ())) for row in rows),
    )


def _write_parquet(vocabulary: Vocabulary, path: Path) -> list[Path]:
    vocabulary.to_parquet(path)
    return [path]


def _write_json(vocabulary: Vocabulary, path: Path) -> list[Path]:
    rows = [dict(zip(COLUMNS, row, strict=True)) for row in _rows(vocabulary)]
    lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
    path.write_text(f"[\n{lines}\n]\n", encoding="utf-8")
    return [path]


def _write_csv(vocabulary: Vocabulary, path: Path) -> list[Path]:
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("tag_id", *COLUMNS))
        for tag_id, (*simple, aliases, parents) in enumerate(_rows(vocabulary)):
            if any(_SEPARATOR in alias for alias in aliases):
                raise ConfigError(f"tag {tag_id} has an alias with {_SEPARATOR!r}: write JSON.")
            lists = (_SEPARATOR.join(aliases), _SEPARATOR.join(map(str, parents)))
            writer.writerow((tag_id, *simple, *lists))
    return [path]


def _write_txt(vocabulary: Vocabulary, path: Path) -> list[Path]:
    columns = {path: list(vocabulary.names)}
    thresholds = [_shortest(value) for value in vocabulary.thresholds]
    columns[_beside(path, "threshold")] = [str(value) for value in thresholds]
    if any(vocabulary.names_zh):
        columns[_beside(path, "chinese")] = list(vocabulary.names_zh)
    for file, lines in columns.items():
        broken = [number for number, line in enumerate(lines) if len(line.splitlines()) > 1]
        if broken:
            raise ConfigError(f"tag {broken[0]} has a line break in its name: write JSON.")
        file.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return list(columns)


def _rows(vocabulary: Vocabulary) -> list[tuple[Any, ...]]:
    thresholds = [_shortest(value) for value in vocabulary.thresholds]
    columns = (vocabulary.names, vocabulary.names_zh, thresholds, vocabulary.kinds)
    return list(zip(*columns, vocabulary.aliases, vocabulary.parents, strict=True))


def _shortest(value: np.float32) -> float:
    return float(str(np.float32(value)))  # 0.65, not 0.6499999761581421


def _beside(path: Path, what: str) -> Path:
    return path.with_name(f"{path.stem}_{what}{path.suffix}")


def _with(vocabulary: Vocabulary, **changed: Any) -> Vocabulary:
    columns = ("names", "names_zh", "thresholds", "kinds", "aliases", "parents")
    return Vocabulary(**{name: getattr(vocabulary, name) for name in columns} | changed)


def _choose(by_suffix: dict[str, Callable[..., Any]], path: Path) -> Callable[..., Any]:
    if path.suffix not in by_suffix:
        allowed = ", ".join(by_suffix)
        raise ConfigError(f"{path} ends in {path.suffix!r}, but must end in one of {allowed}.")
    return by_suffix[path.suffix]

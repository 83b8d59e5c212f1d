"""The tags a model knows: ids, names, thresholds, and how they relate.

The row number is the tag id; identify tags by id, because names may repeat (Tag2Text's do).
"""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from ram_model.config import KINDS
from ram_model.errors import CheckpointError, UnknownTagError
from ram_model.text_files import read_lines as text_lines

OFF = 1.0  # a score is never above it, so a tag with this threshold never fires

_COLUMNS = ("tag_id", "name", "name_zh", "threshold", "kind", "aliases", "parents")


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Vocabulary:
    """Parallel columns, one row per tag, in tag-id order."""

    names: tuple[str, ...]
    """English, as users see and type them."""
    thresholds: np.ndarray
    """float32 [C], 0..1: a tag is given when its score is strictly above; 1.0: never."""
    names_zh: tuple[str, ...] = ()
    """Chinese, spaces at the end included, because the reference prints them; () for none."""
    kinds: tuple[str, ...] = ()
    """One of `KINDS` each; () for "other"."""
    aliases: tuple[tuple[str, ...], ...] = ()
    """Further names by which `tag_ids_of` finds a tag; () for none."""
    parents: tuple[tuple[int, ...], ...] = ()
    """Ids of the tags above a tag; () for none."""

    _by_name: dict[str, list[int]] = field(init=False, repr=False)
    _by_folded: dict[str, list[int]] = field(init=False, repr=False)

    def __post_init__(self) -> None:
        count = len(self.names)
        if count == 0:
            raise ValueError("names is empty, but must hold at least one tag.")
        thresholds = np.asarray(self.thresholds, dtype=np.float32).copy()
        thresholds.setflags(write=False)
        object.__setattr__(self, "thresholds", thresholds)
        for name, empty in (("names_zh", ""), ("kinds", "other"), ("aliases", ()), ("parents", ())):
            if not getattr(self, name):
                object.__setattr__(self, name, (empty,) * count)
        for name in ("thresholds", "names_zh", "kinds", "aliases", "parents"):
            if len(getattr(self, name)) != count:
                size = len(getattr(self, name))
                raise ValueError(f"{name} holds {size} entries, but must hold {count}, one a tag.")
        if not ((thresholds >= 0) & (thresholds <= 1)).all():
            raise ValueError("thresholds must be between 0 and 1.")
        unknown = sorted(set(self.kinds) - set(KINDS))
        if unknown:
            raise ValueError(f"kinds holds {unknown}, but must be of {', '.join(KINDS)}.")
        if any(not 0 <= parent < count for row in self.parents for parent in row):
            raise ValueError(f"parents must be tag ids from 0 to {count - 1}.")
        object.__setattr__(self, "_by_name", _index(self.names, self.aliases))
        folded = [tuple(map(str.casefold, row)) for row in (self.names, *self.aliases)]
        object.__setattr__(self, "_by_folded", _index(folded[0], tuple(folded[1:])))

    def __len__(self) -> int:
        return len(self.names)

    def tag_ids_of(self, names: Sequence[str]) -> list[int]:
        """Return the ids of these names, ascending, each once; names as for `find`.

        Raises:
            UnknownTagError: listing the names that are not in the vocabulary.
        """
        tag_ids, unknown = self.split(names)
        if unknown:
            raise UnknownTagError(
                f"Not among the {len(self)} tags of this model: {', '.join(map(repr, unknown))}."
            )
        return tag_ids

    def split(self, names: Sequence[str]) -> tuple[list[int], list[str]]:
        """Return the ids of the known names (ascending, each once) and the unknown names.

        Unknown names keep their order, each once.
        """
        found = {name: self.find(name) for name in names}
        tag_ids = sorted({tag_id for ids in found.values() for tag_id in ids})
        return tag_ids, [name for name, ids in found.items() if not ids]

    def find(self, name: str) -> list[int]:
        """Return the ids of the tags called `name`, ascending; none: an empty list.

        Looked for as written among names and aliases, then without regard to case, then as
        "#ID", for where tags share a name. A name that several tags carry means all of them.
        """
        for index, key in ((self._by_name, name), (self._by_folded, name.casefold())):
            if key in index:
                return index[key]
        number = name.removeprefix("#")
        if number != name and number.isascii() and number.isdecimal() and int(number) < len(self):
            return [int(number)]
        return []

    def extended(self, names: Sequence[str], threshold: float) -> "Vocabulary":
        """Return this vocabulary with new tags of one threshold after its own.

        Raises:
            ValueError: a name is empty, or the threshold is outside 0..1.
        """
        if not all(name.strip() for name in names):
            raise ValueError("names holds an empty tag, but every new tag needs a name.")
        count = len(names)
        return Vocabulary(
            names=(*self.names, *names),
            thresholds=np.concatenate([self.thresholds, np.full(count, threshold, np.float32)]),
            names_zh=(*self.names_zh, *[""] * count),
            kinds=(*self.kinds, *["other"] * count),
            aliases=(*self.aliases, *[()] * count),
            parents=(*self.parents, *[()] * count),
        )

    @property
    def sha256(self) -> str:
        """Hash of everything but the thresholds: equal means that ids mean the same tags."""
        rows = [self.names, self.names_zh, self.kinds, self.aliases, self.parents]
        return hashlib.sha256(json.dumps(rows).encode("ascii")).hexdigest()

    @property
    def thresholds_sha256(self) -> str:
        """Hash of the thresholds, as little-endian float32."""
        return hashlib.sha256(self.thresholds.astype("<f4").tobytes()).hexdigest()

    @classmethod
    def from_text(
        cls, names: str | Path, thresholds: str | Path, names_zh: str | Path | None = None
    ) -> "Vocabulary":
        """Return the vocabulary in RAM's published lists: UTF-8 files, one entry a line.

        Raises:
            ValueError: the files differ in length, or a threshold is no number from 0 to 1.
        """
        return cls(
            names=tuple(read_lines(names)),
            thresholds=np.array([float(line) for line in read_lines(thresholds)], dtype=np.float32),
            names_zh=() if names_zh is None else tuple(read_lines(names_zh)),
        )

    def to_parquet(self, path: str | Path) -> None:
        """Write the columns tag_id, name, name_zh, threshold, kind, aliases, parents."""
        import pyarrow as pa
        import pyarrow.parquet as pq

        types = [pa.int32(), pa.string(), pa.string(), pa.float32(), pa.string()]
        types += [pa.list_(pa.string()), pa.list_(pa.int32())]
        columns = [range(len(self)), self.names, self.names_zh, self.thresholds, self.kinds]
        columns += [self.aliases, self.parents]
        arrays = [
            pa.array(list(column), type=type_) for column, type_ in zip(columns, types, strict=True)
        ]
        pq.write_table(pa.table(dict(zip(_COLUMNS, arrays, strict=True))), path)

    @classmethod
    def from_parquet(cls, path: str | Path) -> "Vocabulary":
        """Return the vocabulary that `to_parquet` wrote.

        Raises:
            CheckpointError: no such columns, or tag ids that are not 0, 1, 2, ... in order.
        """
        import pyarrow as pa
        import pyarrow.parquet as pq

        try:
            # one file, not a dataset: a folder called a=b in the path must not become a column
            with pq.ParquetFile(path) as file:
                rows = file.read(columns=list(_COLUMNS)).to_pydict()
        except (pa.ArrowInvalid, OSError) as error:
            raise CheckpointError(f"{path} is not a vocabulary: {error}") from error
        missing = [name for name in _COLUMNS if name not in rows]
        if missing or rows["tag_id"] != list(range(len(rows["tag_id"]))):
            reason = f"no column {missing[0]}" if missing else "its tag ids are not 0, 1, 2, ..."
            raise CheckpointError(f"{path} is not a vocabulary: {reason}.")
        return cls(
            names=tuple(rows["name"]),
            thresholds=np.array(rows["threshold"], dtype=np.float32),
            names_zh=tuple(rows["name_zh"]),
            kinds=tuple(rows["kind"]),
            aliases=tuple(map(tuple, rows["aliases"])),
            parents=tuple(map(tuple, rows["parents"])),
        )


def read_lines(path: str | Path) -> list[str]:
    """Return the lines of a UTF-8 file of tags, spaces at their ends kept."""
    # split on line ends only, and keep the spaces that the Chinese list has before them
    return text_lines(path) or [""]


def _index(names: tuple[str, ...], aliases: tuple[tuple[str, ...], ...]) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for tag_id, name in enumerate(names):
        found.setdefault(name, []).append(tag_id)
    own = frozenset(found)
    for tag_id, others in enumerate(aliases):
        for name in others:
            if name not in own:
                found.setdefault(name, []).append(tag_id)
    return found

"""Tag ids that stay: a rebuild gives every tag the id it had, and never gives an id away.

An id is a row number, so a tag that is gone keeps its row, retired: its threshold is `OFF` and its
name says so. It comes back under its id when a later build keeps it again. Thresholds and Chinese
names of the vocabulary before are kept with their ids.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ram_ray.errors import ConfigError
from ram_ray.labels.builder.candidates import PART_OF_KIND
from ram_ray.labels.builder.names import fold
from ram_ray.labels.builder.tags import Tag

RETIRED = " (retired)"
"""After the name of a tag that is gone, so that no look-up finds it."""


class OldRow(NamedTuple):
    """A row of the vocabulary that a build wrote before."""

    name: str
    """Without `RETIRED`."""
    name_zh: str
    kind: str
    threshold: float
    is_retired: bool


class Row(NamedTuple):
    """One row of the vocabulary."""

    name: str
    kind: str
    tag: Tag | None
    """None: retired."""
    old: OldRow | None
    """None: new in this build."""


def read_old_rows(path: Path) -> list[OldRow]:
    """Return the rows of the vocabulary that a build wrote before; none where there is no file.

    Raises:
        ConfigError: the file is no vocabulary.
    """
    from ram_model.errors import CheckpointError
    from ram_model.vocabulary import Vocabulary

    if not path.exists():
        return []
    try:
        old = Vocabulary.from_parquet(path)
    except CheckpointError as error:
        raise ConfigError(f"output holds {path}, whose ids cannot be kept: {error}") from error
    columns = (old.names, old.names_zh, old.kinds, old.thresholds.tolist())
    return [
        OldRow(name.removesuffix(RETIRED), name_zh, kind, threshold, name.endswith(RETIRED))
        for name, name_zh, kind, threshold in zip(*columns, strict=True)
    ]


def assign_ids(tags: Sequence[Tag], old: Sequence[OldRow]) -> list[Row]:
    """Return the rows in id order: the old ids first, new tags after them in the given order.

    A tag is the old one when its name and part of speech are; failing that, when the old name is
    now an alias of it (the tag was renamed) and it has no other id.
    """
    by_name = {(fold(tag.name), tag.key.part): tag for tag in tags}
    by_alias = {
        (fold(alias.text), tag.key.part): tag for tag in reversed(tags) for alias in tag.aliases
    }
    found: list[Tag | None] = []
    taken: set[int] = set()
    for row in old:
        tag = by_name.get(_identity(row))
        tag = None if tag is None or id(tag) in taken else tag
        found.append(tag)
        taken.add(id(tag))
    for number, row in enumerate(old):
        tag = by_alias.get(_identity(row))
        if found[number] is None and tag is not None and id(tag) not in taken:
            found[number] = tag
            taken.add(id(tag))
    kept = [
        Row(f"{row.name}{RETIRED}", row.kind, None, row)
        if tag is None
        else Row(tag.name, tag.kind, tag, row)
        for row, tag in zip(old, found, strict=True)
    ]
    return kept + [Row(tag.name, tag.kind, tag, None) for tag in tags if id(tag) not in taken]


def _identity(row: OldRow) -> tuple[str, str]:
    return fold(row.name), PART_OF_KIND.get(row.kind, "noun")

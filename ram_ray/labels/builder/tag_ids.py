"""Tag ids that stay: a rebuild gives every tag the id it had, and never gives an id away.

An id is a row number, so a tag that is gone keeps its row, retired: its threshold is `OFF`, and it
comes back under its id when a later build keeps it again.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from ram_ray.errors import ConfigError
from ram_ray.labels.builder.candidates import PART_OF_KIND
from ram_ray.labels.builder.names import fold
from ram_ray.labels.builder.tags import Tag


class Row(NamedTuple):
    """One row of the vocabulary: a tag, or what is left of a retired one."""

    name: str
    kind: str
    tag: Tag | None
    """None: retired."""


class OldRow(NamedTuple):
    """What a rebuild must know of a row of the vocabulary before."""

    name: str
    kind: str


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
    return [OldRow(name, kind) for name, kind in zip(old.names, old.kinds, strict=True)]


def assign_ids(tags: Sequence[Tag], old: Sequence[OldRow]) -> list[Row]:
    """Return the rows in id order: the old ids first, new tags after them in the given order.

    A tag is the old one when its name and part of speech are; failing that, when the old name is
    now an alias of it (the tag was renamed) and no other tag took it.
    """
    by_name = {(fold(tag.name), tag.key.part): tag for tag in tags}
    by_alias = {
        (fold(alias.text), tag.key.part): tag for tag in reversed(tags) for alias in tag.aliases
    }
    found: list[Tag | None] = [by_name.get(_identity(row)) for row in old]
    taken = {id(tag) for tag in found if tag is not None}
    for number, row in enumerate(old):
        tag = by_alias.get(_identity(row))
        if found[number] is None and tag is not None and id(tag) not in taken:
            found[number] = tag
            taken.add(id(tag))
    rows = [
        Row(row.name, row.kind, None) if tag is None else Row(tag.name, tag.kind, tag)
        for row, tag in zip(old, found, strict=True)
    ]
    return rows + [Row(tag.name, tag.kind, tag) for tag in tags if id(tag) not in taken]


def _identity(row: OldRow) -> tuple[str, str]:
    return fold(row.name), PART_OF_KIND.get(row.kind, "noun")

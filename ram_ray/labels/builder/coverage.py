"""How much of a list a vocabulary covers: entry by entry, under any name of either side."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from ram_ray.labels.builder.candidates import key_of
from ram_ray.labels.builder.lists import Entry, SourceList
from ram_ray.labels.builder.names import joined
from ram_ray.labels.lexicon import Lexicon

_PARTS = ("noun", "adj", "verb")


@dataclass(frozen=True, kw_only=True, slots=True)
class Coverage:
    """One list against one vocabulary."""

    list_name: str
    num_entries: int
    num_covered: int
    missing: tuple[str, ...]
    """Own names of the entries that no tag covers, in the list's order."""

    @property
    def share(self) -> float:
        """Covered entries, 0..1."""
        return self.num_covered / self.num_entries


class NameIndex:
    """Finds a tag under any spelling and inflection of its names."""

    def __init__(self, names: Iterable[Sequence[str]], lexicon: Lexicon) -> None:
        """Take the names of each tag: its own, then its aliases."""
        self._lexicon = lexicon
        self._rows: dict[str, int] = {}
        tags = [list(row) for row in names]
        for own_names in (True, False):  # a tag's own name wins over another's alias
            for number, row in enumerate(tags):
                for name in row[:1] if own_names else row[1:]:
                    for form in self._forms(name):
                        self._rows.setdefault(form, number)

    def find(self, name: str) -> int | None:
        """Return the number of the tag with this name; None where there is none."""
        return next((self._rows[form] for form in self._forms(name) if form in self._rows), None)

    def _forms(self, name: str) -> list[str]:
        forms = [joined(name), *(joined(key_of(name, part, self._lexicon).text) for part in _PARTS)]
        return list(dict.fromkeys(forms))


def coverage_of(source: SourceList, index: NameIndex) -> Coverage:
    """Return how many entries of a list have a tag."""
    missing = [entry.names[0].full for entry in source.entries if find_entry(entry, index) is None]
    return Coverage(
        list_name=source.name,
        num_entries=len(source.entries),
        num_covered=len(source.entries) - len(missing),
        missing=tuple(missing),
    )


def find_entry(entry: Entry, index: NameIndex) -> int | None:
    """Return the number of the tag that covers an entry, by its own name first; None for none."""
    texts = [text for name in entry.names for text in (name.full, name.text)]
    found = (index.find(text) for text in dict.fromkeys(texts))
    return next((number for number in found if number is not None), None)

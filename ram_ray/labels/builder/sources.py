"""The sources of a build: its lists, and its captions as the parser's discovery mode sees them."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import pyarrow as pa

from ram_ray.labels.builder.config import ListConfig
from ram_ray.labels.builder.lists import SourceList, read_list
from ram_ray.labels.captions.corpus import read_captions
from ram_ray.labels.lexicon import Lexicon
from ram_ray.labels.problems import Report


def read_lists(configs: Sequence[ListConfig], lexicon: Lexicon, report: Report) -> list[SourceList]:
    """Return the lists of a config; two of one name are told apart by a number.

    Raises:
        ConfigError: a list cannot be read.
    """
    lists: list[SourceList] = []
    taken: dict[str, int] = {}
    for one in configs:
        source = read_list(one.path, lexicon, report, name=one.name, kind=one.kind, cover=one.cover)
        taken[source.name] = taken.get(source.name, 0) + 1
        if taken[source.name] > 1:
            source = replace(source, name=f"{source.name}-{taken[source.name]}")
        lists.append(source)
    return lists


class CaptionTexts:
    """The texts of all captions of files and folders, read as a stream and counted on the way."""

    def __init__(
        self, paths: Sequence[str], report: Report, columns: Sequence[str] | None = None
    ) -> None:
        self._columns = columns
        self._paths = paths
        self._report = report
        self.count = 0

    def __iter__(self) -> Iterator[str]:
        for path in self._paths:
            for caption in read_captions(path, self._report, columns=self._columns):
                self.count += 1
                yield caption.text


def frequencies(table: pa.Table) -> Mapping[tuple[str, str], int]:
    """Return (name, kind) to number of captions, from the table of the discovery mode."""
    columns = [table[name].to_pylist() for name in ("name", "kind", "frequency")]
    return {(name, kind): count for name, kind, count in zip(*columns, strict=True)}

"""Discovery: what captions talk about, without a vocabulary; candidates for a label system.

Heads become "object" or "scene", modifiers "attribute", verbs "action", each by its lemma, with
the number of captions that name it. Nouns before a head give a compound besides the head
("tennis ball" and "ball"), of kind "object" or "scene" by its head.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from itertools import islice

import numpy as np
import pyarrow as pa

from ram_ray.labels.lexicon import Lexicon
from ram_ray.labels.parser.analysis import (
    ADJECTIVE_ROLE,
    BEFORE_HEAD_ROLE,
    NOUN_ROLE,
    VERB_ROLE,
    Analyzer,
    Mentions,
)
from ram_ray.labels.parser.function_words import MADE_OF
from ram_ray.labels.parser.kinds import noun_kind
from ram_ray.labels.parser.word_reading import Word

BATCH_CAPTIONS = 4_096

CANDIDATES = pa.schema(
    [
        pa.field("name", pa.string(), nullable=False),
        pa.field("kind", pa.string(), nullable=False),  # object, scene, attribute or action
        pa.field("frequency", pa.int64(), nullable=False),  # captions that name it
    ]
)


class Discovery:
    """Counts candidates over batches of captions."""

    def __init__(self, lexicon: Lexicon | None = None) -> None:
        self._analyzer = Analyzer(lexicon=lexicon)
        self._kind_of: dict[str, str] = {}
        self.counts: Counter[tuple[str, str]] = Counter()
        """(name, kind) to the number of captions that name it."""
        self.num_captions = 0

    def add(self, captions: Sequence[str]) -> None:
        """Count what some captions name; what is absent does not count."""
        for found in self.read(captions):
            self.counts.update(found)
        self.num_captions += len(captions)

    def read(self, captions: Sequence[str]) -> list[set[tuple[str, str]]]:
        """Return the (name, kind) pairs of each caption."""
        found: list[set[tuple[str, str]]] = [set() for _ in captions]
        mentions = self._analyzer.analyze(captions)
        mentions = mentions.where(~mentions.absent)
        words = self._analyzer.words
        for caption, row, role in zip(
            mentions.caption.tolist(), mentions.word.tolist(), mentions.role.tolist(), strict=True
        ):
            if role != BEFORE_HEAD_ROLE:
                found[caption].add(self._candidate(words[row], role))
        for caption, name in self._compounds(mentions):
            found[caption].add((name, self._noun_kind(name)))
        return found

    def to_table(self) -> pa.Table:
        """Return CANDIDATES, falling frequency, then name and kind."""
        rows = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        columns = (
            [name for (name, _), _ in rows],
            [kind for (_, kind), _ in rows],
            [count for _, count in rows],
        )
        return pa.table(dict(zip(CANDIDATES.names, columns, strict=True)), schema=CANDIDATES)

    def _candidate(self, word: Word, role: int) -> tuple[str, str]:
        if role == NOUN_ROLE:
            return word.nouns[0], self._noun_kind(word.nouns[0])
        if role == VERB_ROLE:
            return (word.verbs or word.nouns)[0], "action"
        assert role == ADJECTIVE_ROLE
        return attribute_name(word), "attribute"

    def _noun_kind(self, noun: str) -> str:
        kind = self._kind_of.get(noun)
        if kind is None:
            kind = self._kind_of[noun] = noun_kind(noun, self._analyzer.lexicon)
        return kind

    def _compounds(self, mentions: Mentions) -> Iterator[tuple[int, str]]:
        """Yield (caption, name) for every noun right before a head."""
        role = mentions.role
        pair = (role[:-1] == BEFORE_HEAD_ROLE) & (role[1:] == NOUN_ROLE)
        pair &= mentions.end[:-1] + 1 == mentions.start[1:]
        words = self._analyzer.words
        for at in np.flatnonzero(pair).tolist():
            first, head = words[mentions.word[at]], words[mentions.word[at + 1]]
            yield int(mentions.caption[at]), f"{first.nouns[0]} {head.nouns[0]}"


def attribute_name(word: Word) -> str:
    """Return the name of an attribute: "old" for older, "wood" for wooden, "parked" for parked."""
    return MADE_OF.get(word.form) or (word.adjs[0] if word.adjs else word.form)


def discover(captions: Iterable[str]) -> pa.Table:
    """Return the CANDIDATES of a corpus, read as a stream."""
    discovery = Discovery()
    rest = iter(captions)
    while batch := list(islice(rest, BATCH_CAPTIONS)):
        discovery.add(batch)
    return discovery.to_table()

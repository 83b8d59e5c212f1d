"""Captions to mentions: what stands in them, as what kind, where; for any vocabulary or none.

    tokens -> words -> names of several words -> parts of speech -> roles -> absence

Heads become objects or scenes, modifiers attributes, verbs actions (RAM section 3.2 through
SceneGraphParser; unlike there, verbs without an object count: "a dog runs").
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from ram_ray.labels.lexicon import Lexicon, load_lexicon
from ram_ray.labels.parser import spacy_tier, speech
from ram_ray.labels.parser.absence import TRIGGERS, absent_tokens
from ram_ray.labels.parser.compounds import Compound, compounds, read_compound
from ram_ray.labels.parser.function_words import (
    EMPTY_ADJECTIVES,
    EMPTY_NOUNS,
    EMPTY_VERBS,
    NOT_ALIVE,
    PICTURES,
    POSITIONS,
    QUANTITIES,
    SHELLS,
)
from ram_ray.labels.parser.homographs import Homographs
from ram_ray.labels.parser.phrases import Hits, PhraseTrie
from ram_ray.labels.parser.tokens import tokenize
from ram_ray.labels.parser.word_reading import Word
from ram_ray.labels.parser.words import WordTable

NOUN_ROLE, ADJECTIVE_ROLE, VERB_ROLE, BEFORE_HEAD_ROLE = 0, 1, 2, 3
"""Values of `Mentions.role`: head of a noun phrase, modifier, verb, noun before a head."""


@dataclass(frozen=True, slots=True)
class Mentions:
    """What was found in a batch, in the order of the text; parallel arrays."""

    caption: np.ndarray
    """int64: index of the caption."""
    word: np.ndarray
    """int32: row of `Analyzer.words`."""
    role: np.ndarray
    """uint8."""
    absent: np.ndarray
    """bool: said not to be there."""
    start: np.ndarray
    """int64: first character in the caption."""
    end: np.ndarray
    """int64: after the last character."""

    def __len__(self) -> int:
        return len(self.caption)

    def where(self, mask: np.ndarray) -> "Mentions":
        """Return some of the mentions, by a mask or by indices."""
        return Mentions(
            self.caption[mask],
            self.word[mask],
            self.role[mask],
            self.absent[mask],
            self.start[mask],
            self.end[mask],
        )


@dataclass(slots=True)
class _Stream:
    """The tokens of a batch without blanks, names of several words as one."""

    row: np.ndarray
    start: np.ndarray
    end: np.ndarray
    tags: np.ndarray


class Analyzer:
    """Reads captions; remembers every distinct word it has met.

    Args:
        names: of the vocabulary, folded, aliases included: they are matched as they are.
        spacy_pipeline: reads parts of speech instead of the rules (`spacy_tier`); None: the rules.
    """

    def __init__(
        self,
        names: Iterable[str] = (),
        lexicon: Lexicon | None = None,
        spacy_pipeline: Any = None,
    ) -> None:
        self._spacy = spacy_pipeline
        self.lexicon = lexicon or load_lexicon()
        names = list(names)
        known = set(names)
        self._table = WordTable(self.lexicon, known.__contains__)
        self._row_of_of = self._row_of("of")
        self._homographs = Homographs(self._row_of)
        self._compounds: list[Compound] = list(compounds(names, self.lexicon))
        self._trie = PhraseTrie([compound.words for compound in self._compounds])
        self._is_verb_phrase = np.array(
            [compound.part == speech.VERB for compound in self._compounds], np.bool_
        )
        # Row of each compound, singular and plural; -1 until it is met.
        self._row_of_variant = np.full(2 * len(self._compounds), -1, np.int32)
        self._keys = np.zeros((3, 0), np.int32)
        self._skip = np.zeros((0, 7), np.bool_)

    @property
    def words(self) -> list[Word]:
        """Every distinct word and matched name so far."""
        return self._table.words

    def analyze(self, captions: Sequence[str]) -> Mentions:
        """Return what stands in the captions, what is absent included and marked."""
        tokens = tokenize(captions)
        row = self._table.rows_of(tokens.segments)[tokens.segment]
        columns = self._table.columns()
        end = np.append(tokens.start[1:], tokens.size)
        kept = np.flatnonzero(columns.guess[row])
        row = row[kept]
        start = tokens.start[kept] + columns.cut_left[row]
        end = end[kept] - columns.cut_right[row]
        row, start, end, beside = self._join_names(row, start, end)
        columns = self._table.columns()
        tags = speech.tag_words(
            columns.guess[row],
            columns.features[row],
            lambda window: self._homographs.settle(window, row),
        )
        if self._spacy is not None:
            caption = tokens.caption_of(start)
            places = start - tokens.caption_start[caption]
            # A caption's own closing token stands at its end: no token of spaCy's is there.
            several = np.array([word.num_words > 1 for word in self.words], np.bool_)[row]
            read = spacy_tier.retag(self._spacy, captions, caption, places, tags)
            tags = np.where(several, tags, read)
        stream = _Stream(row, start, end, tags)
        mentions = self._mentions(stream, columns.features[row])
        if len(beside.row):
            mentions = _merge(mentions, beside)
        caption = tokens.caption_of(mentions.start)
        offset = tokens.caption_start[caption]
        return replace(
            mentions, caption=caption, start=mentions.start - offset, end=mentions.end - offset
        )

    def _row_of(self, form: str) -> int:
        return int(self._table.rows_of([form])[0])

    def _join_names(
        self, row: np.ndarray, start: np.ndarray, end: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray, np.ndarray, _Stream]:
        """Replace the words of matched names by one token each; verb phrases come beside."""
        if self._keys.shape[1] < len(self.words):
            self._learn_words()
        hits = self._trie.find(self._keys[:, row])
        rows = self._rows_of_hits(hits, row)
        last = hits.first + hits.length - 1
        verbal = self._is_verb_phrase[hits.phrase]
        beside = _Stream(
            rows[verbal], start[hits.first[verbal]], end[last[verbal]], np.zeros(0, np.uint32)
        )
        joined = ~verbal
        first = hits.first[joined]
        row, end = row.copy(), end.copy()
        row[first], end[first] = rows[joined], end[last[joined]]
        inside = np.zeros(len(row) + 1, np.int64)
        np.add.at(inside, first + 1, 1)
        np.add.at(inside, last[joined] + 1, -1)
        kept = np.cumsum(inside[:-1]) == 0
        return row[kept], start[kept], end[kept], beside

    def _rows_of_hits(self, hits: Hits, row: np.ndarray) -> np.ndarray:
        last = row[hits.first + hits.length - 1]
        plural = (self._table.columns().features[last] & speech.F_NS) != 0
        variant = hits.phrase * 2 + plural
        for new in set(variant[self._row_of_variant[variant] < 0].tolist()):
            compound, is_plural = self._compounds[new // 2], bool(new % 2)
            word = read_compound(compound, plural=is_plural, lexicon=self.lexicon)
            self._row_of_variant[new] = self._table.add(f"\0{new}", word)
        return self._row_of_variant[variant]

    def _learn_words(self) -> None:
        new = self.words[self._keys.shape[1] :]
        self._keys = np.concatenate([self._keys, self._trie.keys_of(new)], axis=1)

    def _mentions(self, stream: _Stream, features: np.ndarray) -> Mentions:
        tags, row = stream.tags, stream.row
        padded = np.concatenate([[speech.BREAK], tags, [speech.BREAK]])
        before, after = padded[:-2], padded[2:]
        skip = self._skips()[row]
        is_noun = tags == speech.NOUN
        owner = (features & speech.OWNER) != 0
        modifies = is_noun & (after == speech.NOUN) & ~owner
        material = modifies & ((features & speech.MATERIAL) != 0)
        of_follows = np.append(row[1:] == self._row_of_of, False)
        head = is_noun & ~modifies & ~skip[:, 0] & ~(skip[:, 1] & of_follows)
        head &= ~_is_toy(skip[:, 6], tags, features)
        is_verbal = (tags & (speech.VERB | speech.VING | speech.VED)) != 0
        participle = (tags == speech.VED) & ((after & (speech.NOUN | speech.ADJ)) != 0)
        participle &= (before & (speech.NOUN | speech.BE | speech.PRON | speech.REL)) == 0
        attribute = ((tags == speech.ADJ) | participle | material) & ~skip[:, 2]
        action = is_verbal & ~participle & ~skip[:, 3]
        role = np.full(len(tags), 255, np.uint8)
        role[modifies] = BEFORE_HEAD_ROLE
        role[head] = NOUN_ROLE
        role[modifies & np.append(skip[1:, 4], False)] = NOUN_ROLE
        role[attribute] = ADJECTIVE_ROLE
        role[action] = VERB_ROLE
        triggers = np.flatnonzero(self._skips()[row, 5])
        absent = absent_tokens(triggers, row, tags, self.words)
        found = np.flatnonzero(role != 255)
        return Mentions(
            found, row[found], role[found], absent[found], stream.start[found], stream.end[found]
        )

    def _skips(self) -> np.ndarray:
        """Return bool [words, 7].

        No tag as noun, as noun before "of", as adjective, as verb; a head that says little; a
        word of absence; a word that makes an animal a toy.
        """
        if len(self._skip) < len(self.words):
            new = [_skip(word) for word in self.words[len(self._skip) :]]
            self._skip = np.concatenate([self._skip, np.array(new, np.bool_).reshape(-1, 7)])
        return self._skip


def _skip(word: Word) -> tuple[bool, ...]:
    noun = word.nouns[0] if word.nouns else ""
    return (
        not noun or word.form in EMPTY_NOUNS or word.form in POSITIONS,
        word.form in QUANTITIES or noun in PICTURES,
        word.form in EMPTY_ADJECTIVES,
        not word.verbs or word.verbs[0] in EMPTY_VERBS,
        noun in SHELLS,
        word.form in TRIGGERS,
        word.form in NOT_ALIVE,
    )


def _is_toy(makes_toy: np.ndarray, tags: np.ndarray, features: np.ndarray) -> np.ndarray:
    """Tell which tokens are animals or persons of cloth: "stuffed bear", "plush white cat"."""
    toy = np.zeros(len(tags), np.bool_)
    for at in np.flatnonzero(makes_toy[:-1]).tolist():
        at += 1 + bool(tags[at + 1] == speech.ADJ)
        if at < len(tags):
            toy[at] = (features[at] & speech.ANIMATE) != 0
    return toy


def _merge(mentions: Mentions, beside: _Stream) -> Mentions:
    """Put verb phrases among the mentions, in the order of the text; absent if a part of one is."""
    count = len(beside.row)
    gone = mentions.start[mentions.absent]
    absent = np.searchsorted(gone, beside.end) > np.searchsorted(gone, beside.start)
    merged = Mentions(
        np.concatenate([mentions.caption, np.zeros(count, np.int64)]),
        np.concatenate([mentions.word, beside.row]),
        np.concatenate([mentions.role, np.full(count, VERB_ROLE, np.uint8)]),
        np.concatenate([mentions.absent, absent]),
        np.concatenate([mentions.start, beside.start]),
        np.concatenate([mentions.end, beside.end]),
    )
    return merged.where(np.argsort(merged.start, kind="stable"))

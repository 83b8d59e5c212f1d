"""Longest match of names of several words over the tokens of a whole batch.

A trie over words, walked from every token at once: step k looks up (node, word) of all starts
that are still alive in one sorted array. That gives what an Aho-Corasick automaton gives, whole
words only, at the speed of array lookups; names are at most a few words long, so few steps.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from ram_ray.labels.parser.word_reading import Word

_WORD_BITS = 24
MAX_WORDS = 6
"""Words of the longest name that is matched."""


class Hits(NamedTuple):
    """Matched names, none overlapping another."""

    first: np.ndarray
    """int64 [h]: index of the first token."""
    length: np.ndarray
    """int64 [h]: number of tokens."""
    phrase: np.ndarray
    """int32 [h]: index of the name."""


class PhraseTrie:
    """Names of two or more words, each a sequence of folded words."""

    def __init__(self, phrases: Sequence[tuple[str, ...]]) -> None:
        self._word_ids: dict[str, int] = {}
        edges: dict[int, int] = {}
        ends = [-1]
        for phrase, words in enumerate(phrases):
            node = 0
            for word in words:
                word_id = self._word_ids.setdefault(word, len(self._word_ids) + 1)
                key = node << _WORD_BITS | word_id
                child = edges.get(key)
                if child is None:
                    child = edges[key] = len(ends)
                    ends.append(-1)
                node = child
            if ends[node] < 0:
                ends[node] = phrase  # the first of equal names counts
        keys = np.fromiter(edges.keys(), np.int64, len(edges))
        order = np.argsort(keys)
        self._keys = keys[order]
        self._children = np.fromiter(edges.values(), np.int32, len(edges))[order]
        self._ends = np.array(ends, np.int32)
        size = len(self._word_ids) + 1
        self._first = np.zeros(size, np.int32)  # child of the root by word
        self._follows = np.zeros(size, np.bool_)  # words that are not only first words
        for key, child in edges.items():
            node, word_id = key >> _WORD_BITS, key & ((1 << _WORD_BITS) - 1)
            if node:
                self._follows[word_id] = True
            else:
                self._first[word_id] = child

    def keys_of(self, words: Iterable[Word]) -> np.ndarray:
        """Return int32 [3, words]: the ids under which each word is looked up, 0 for none.

        First its form, then its lemma as a noun ("wine glasses"), then, as the first word of a
        name only, as a verb ("rides a horse").
        """
        ids = self._word_ids
        get = ids.get
        rows = [
            (
                get(word.form, 0),
                next((get(noun, 0) for noun in word.nouns if noun != word.form and noun in ids), 0),
                next((found for verb in word.verbs if (found := get(verb, 0))), 0),
            )
            for word in words
        ]
        return np.array(rows, np.int32).reshape(-1, 3).T

    def find(self, keys: np.ndarray) -> Hits:
        """Return the leftmost longest matches in a batch.

        Args:
            keys: int32 [3, tokens], columns of `keys_of`.
        """
        num_tokens = keys.shape[1]
        starts, nodes = self._starts(keys)
        best_count = np.zeros(num_tokens, np.int64)
        best_phrase = np.full(num_tokens, -1, np.int32)
        for length in range(2, MAX_WORDS + 1):
            inside = starts + length <= num_tokens
            starts, nodes = starts[inside], nodes[inside]
            nodes = self._step(nodes, keys[:2, starts + length - 1])
            alive = nodes > 0
            starts, nodes = starts[alive], nodes[alive]
            if not len(starts):
                break
            ends = self._ends[nodes]
            whole = ends >= 0
            whole = np.flatnonzero(whole)
            # Of equal lengths the earlier name counts: "potted plant" of the vocabulary, not the
            # lexicon's "pot plant"; the last assignment stays.
            whole = whole[np.argsort(-ends[whole], kind="stable")]
            best_count[starts[whole]] = length
            best_phrase[starts[whole]] = ends[whole]
        first = np.flatnonzero(best_count)
        keep = _without_overlaps(first, best_count[first])
        first = first[keep]
        return Hits(first, best_count[first], best_phrase[first])

    def _starts(self, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the tokens that may start a name of two words or more, and their nodes."""
        follows = self._follows[keys[0]] | self._follows[keys[1]]
        starts = np.flatnonzero(follows[1:])
        # By each of its keys: "playing" starts "playing card" and "play tennis".
        nodes = self._first[keys[:, starts]]
        key, known = np.nonzero(nodes)
        return starts[known], nodes[key, known].astype(np.int64)

    def _step(self, nodes: np.ndarray, keys: np.ndarray) -> np.ndarray:
        """Return the child of each node by the first of its word's keys that has one; 0: none."""
        found = np.zeros(len(nodes), np.int64)
        for column in keys:
            open_ = np.flatnonzero((found == 0) & (column > 0))
            if not len(open_):
                continue
            wanted = nodes[open_] << _WORD_BITS | column[open_]
            place = np.searchsorted(self._keys, wanted)
            place[place == len(self._keys)] = 0
            hit = self._keys[place] == wanted
            found[open_[hit]] = self._children[place[hit]]
        return found


def _without_overlaps(first: np.ndarray, count: np.ndarray) -> np.ndarray:
    """Return which matches stay, bool: from the left, each that starts after the last one's end."""
    keep = np.ones(len(first), np.bool_)
    if len(first) < 2 or (first[1:] >= first[:-1] + count[:-1]).all():
        return keep
    end = -1
    for position, (start, length) in enumerate(zip(first.tolist(), count.tolist(), strict=True)):
        if start < end:
            keep[position] = False
        else:
            end = start + length
    return keep

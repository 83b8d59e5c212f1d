"""Longest match of names of several words over tokens."""

import numpy as np

from ram_ray.labels.parser.phrases import PhraseTrie
from ram_ray.labels.parser.word_reading import Word

PHRASES = [("hot", "dog"), ("hot", "dog", "stand"), ("dog", "stand"), ("wine", "glass")]
TRIE = PhraseTrie(PHRASES)


def find(text: str) -> list[tuple[int, int, int]]:
    words = [Word(form, 0, 0, nouns=(form.removesuffix("es"),)) for form in text.split()]
    hits = TRIE.find(TRIE.keys_of(words))
    columns = (hits.first.tolist(), hits.length.tolist(), hits.phrase.tolist())
    return list(zip(*columns, strict=True))


def test_longest_match_wins() -> None:
    assert find("a hot dog stand") == [(1, 3, 1)]
    assert find("a hot dog sits") == [(1, 2, 0)]


def test_matches_do_not_overlap_and_the_leftmost_wins() -> None:
    assert find("hot dog dog stand hot dog") == [(0, 2, 0), (2, 2, 2), (4, 2, 0)]


def test_a_plural_matches_by_its_lemma() -> None:
    assert find("two wine glasses") == [(1, 2, 3)]


def test_a_name_cut_off_by_the_end_is_no_match() -> None:
    assert find("a hot") == []
    assert find("") == []


def test_finds_what_a_plain_search_finds() -> None:
    rng = np.random.default_rng(0)
    text = [("hot", "dog", "stand", "wine", "glass", "x")[i] for i in rng.integers(0, 6, 500)]
    expected, at = [], 0
    while at < len(text):
        fits = [p for p in PHRASES if tuple(text[at : at + len(p)]) == p]
        best = max(fits, key=len, default=())
        if best:
            expected.append((at, len(best), PHRASES.index(best)))
        at += len(best) or 1
    assert find(" ".join(text)) == expected

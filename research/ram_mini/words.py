"""Words of the captions that ram-mini's decoder learns beside its tags, and words that mean a tag.

Neither list is shipped: a decoder that has seen thousand words as queries makes more of a new one.
"""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq

import ram_ray.labels.lexicon
from research.ram_mini.prepare import TagLine

LEAST_CAPTIONED = 10  # training photos whose captions say a word, for it to be learned
LEAST_LETTERS = 3
FUNCTION_WORDS = frozenset(
    "the and with his her its their for from that this are has have been was were who which while"
    " into onto over under through him she they them but not out off down near".split()
)
_LEXICON = Path(ram_ray.labels.lexicon.__file__).parent


def caption_labels(words: Sequence[set[str]], tags: Sequence[TagLine]) -> list[TagLine]:
    """Return the frequent words of `words` (one set a photo) that are no tag; plurals are folded.

    A word that a tag folds in ("puppy" under "dog") is a label of its own here.
    """
    counts = Counter(word for said in words for word in said)
    groups: dict[str, set[str]] = {}
    for word in counts:
        singular = word[:-1]
        plural = word.endswith("s") and singular in counts and len(word) > LEAST_LETTERS
        groups.setdefault(singular if plural else word, set()).add(word)
    known = {tag.name for tag in tags} | {next(iter(t.forms)) for t in tags if len(t.forms) == 1}
    return [
        TagLine(name, "other", frozenset(forms))
        for name, forms in sorted(groups.items())
        if sum(counts[form] for form in forms) >= LEAST_CAPTIONED
        and len(name) >= LEAST_LETTERS
        and name not in FUNCTION_WORDS | known
    ]


def target_matrix(words: Sequence[set[str]], labels: Sequence[TagLine]) -> np.ndarray:
    """Return bool [N, L]: the captions of photo n say label l."""
    columns: dict[str, list[int]] = {}
    for column, label in enumerate(labels):
        for form in label.forms:
            columns.setdefault(form, []).append(column)
    targets = np.zeros((len(words), len(labels)), dtype=bool)
    for row, said in enumerate(words):
        targets[row, [column for word in said for column in columns.get(word, ())]] = True
    return targets


def without_meanings(labels: Sequence[TagLine], removed: Sequence[TagLine]) -> np.ndarray:
    """Return the positions of the labels that share no word with the removed tags or synonyms.

    A synonym stands in one of the (at most four) first noun synsets of a word of the tag in
    WordNet 3.0; each is also looked for with and without a plural s, and with -ed and -ing.
    """
    table = pq.read_table(_LEXICON / "words.parquet", columns=["lemma", "senses"]).to_pydict()
    senses = dict(zip(table["lemma"], table["senses"], strict=True))
    synsets = pq.read_table(_LEXICON / "synsets.parquet", columns=["lemmas"])["lemmas"].to_pylist()
    said = {form for tag in removed for form in tag.forms | {tag.name}}
    meant = said | {
        lemma for word in said for at in senses.get(word) or () for lemma in synsets[at]
    }
    stems = {_stem(word) for word in meant}
    kept = [
        position
        for position, label in enumerate(labels)
        if not stems & {_stem(form) for form in label.forms | {label.name}}
    ]
    return np.array(kept)


def _stem(word: str) -> str:
    """Return a word without the endings of plurals and verb forms: runs, running -> run."""
    stem = re.sub(r"(ing|ed|es|s|e|y)$", "", word) if len(word) > LEAST_LETTERS else word
    return stem[:-1] if len(stem) > LEAST_LETTERS and stem[-1] == stem[-2] else stem

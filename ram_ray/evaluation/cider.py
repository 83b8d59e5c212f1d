"""CIDEr: how much a caption says what people said of an image (arXiv 1411.5726).

Both published forms: CIDEr, and CIDEr-D, which the COCO caption server calls CIDEr. Words are runs
of letters and digits in lower case; neither stemming nor stop words, as on that server.
"""

import math
import re
from collections import Counter
from collections.abc import Sequence

MAX_N = 4
"""Longest n-gram."""
SCALE = 10.0
SIGMA = 6.0
"""Words of difference in length from which CIDEr-D's penalty bites."""

Gram = tuple[str, ...]


def split_words(caption: str) -> list[str]:
    """Return the words that are compared."""
    return re.findall(r"[a-z0-9]+", caption.lower())


class Cider:
    """Scores captions against the references of a set of images, which also set the weights."""

    def __init__(self, references: Sequence[Sequence[str]], *, robust: bool = True) -> None:
        """Count in how many images each n-gram is said.

        Args:
            references: captions of each image, at least one.
            robust: CIDEr-D: repeated words do not count again, and another length costs.

        Raises:
            ValueError: an image without a reference.
        """
        if not references or not all(references):
            raise ValueError("references must hold at least one caption for each image.")
        self.robust = robust
        counted = [[_grams(split_words(text)) for text in texts] for texts in references]
        said: Counter[Gram] = Counter()
        for image in counted:
            said.update({gram for counts in image for gram in counts})
        self._idf = {gram: math.log(len(counted) / count) for gram, count in said.items()}
        self._unsaid = math.log(len(counted))
        self._references = [[self._vectors(counts) for counts in image] for image in counted]
        self._lengths = [[len(split_words(text)) for text in texts] for texts in references]

    def score(self, captions: Sequence[str]) -> list[float]:
        """Return the score of one caption per image, 0 upwards; people reach about 1.

        Raises:
            ValueError: another number of captions than of images.
        """
        if len(captions) != len(self._references):
            raise ValueError(
                f"captions holds {len(captions)}, but must hold {len(self._references)}."
            )
        return [self.score_one(image, caption) for image, caption in enumerate(captions)]

    def score_one(self, image: int, caption: str) -> float:
        """Return the score of a caption of the image of this number."""
        words = split_words(caption)
        vectors = self._vectors(_grams(words))
        total = 0.0
        for reference, length in zip(self._references[image], self._lengths[image], strict=True):
            same = sum(
                _similarity(vector, other, clipped=self.robust)
                for vector, other in zip(vectors, reference, strict=True)
            )
            gap = len(words) - length
            total += same / MAX_N * (math.exp(-(gap**2) / (2 * SIGMA**2)) if self.robust else 1.0)
        return SCALE * total / len(self._references[image])

    def _vectors(self, counts: Counter[Gram]) -> list[dict[Gram, float]]:
        """Return the weighted n-grams by length. Shares instead of counts would change nothing."""
        vectors: list[dict[Gram, float]] = [{} for _ in range(MAX_N)]
        for gram, count in counts.items():
            vectors[len(gram) - 1][gram] = count * self._idf.get(gram, self._unsaid)
        return vectors


def _similarity(vector: dict[Gram, float], other: dict[Gram, float], *, clipped: bool) -> float:
    """Return the cosine; clipped, no n-gram counts for more than the reference has of it."""
    norms = math.sqrt(sum(v * v for v in vector.values()) * sum(v * v for v in other.values()))
    if norms == 0:
        return 0.0
    shared = vector.keys() & other.keys()
    first = {gram: min(vector[gram], other[gram]) if clipped else vector[gram] for gram in shared}
    return sum(first[gram] * other[gram] for gram in shared) / norms


def _grams(words: Sequence[str]) -> Counter[Gram]:
    sizes = range(1, MAX_N + 1)
    return Counter(tuple(words[at : at + n]) for n in sizes for at in range(len(words) - n + 1))

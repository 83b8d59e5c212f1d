"""Tags whose text embeddings lie close: proposals for a person, never merges by themselves.

Close words are often the same thing (sofa, couch) and as often opposites or siblings (left, right).
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from ram_ray.errors import ConfigError

TEMPLATE = "a photo of a {}."
LEAST_SIMILARITY = 0.9
"""Cosine from which a pair is proposed."""
_ROWS = 1_024  # compared with all others at a time: 50 MB for 12,000 tags


class Neighbours(NamedTuple):
    """Two rows and how close they lie."""

    row: int
    other: int
    """Always above `row`."""
    similarity: float


def find_neighbours(names: Sequence[str], text_encoder: str) -> list[Neighbours]:
    """Return the close pairs among names, the closest first.

    Args:
        text_encoder: CLIP text tower, a folder or a weight file.

    Raises:
        ConfigError: the text encoder cannot be read.
    """
    from ram_model.errors import LabelError
    from ram_model.words.text_encoder import load_text_encoder

    try:
        encoder = load_text_encoder(text_encoder)
    except (LabelError, OSError) as error:
        raise ConfigError(f"text_encoder is {text_encoder!r}: {error}") from error
    vectors = encoder.encode([TEMPLATE.format(name) for name in names]).numpy()
    return close_pairs(vectors)


def close_pairs(vectors: np.ndarray, least: float = LEAST_SIMILARITY) -> list[Neighbours]:
    """Return the pairs of unit rows, float32 [N, E], with a cosine of at least `least`."""
    found: list[Neighbours] = []
    for start in range(0, len(vectors), _ROWS):
        similar = vectors[start : start + _ROWS] @ vectors.T
        for row, other in zip(*np.nonzero(similar >= least), strict=True):
            if start + row < other:
                value = round(float(similar[row, other]), 4)
                found.append(Neighbours(start + int(row), int(other), value))
    return sorted(found, key=lambda pair: (-pair.similarity, pair.row, pair.other))

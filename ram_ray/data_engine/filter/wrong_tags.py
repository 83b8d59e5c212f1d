"""Tags of other images' captions, which an image does not have: what the filter learns against."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class WrongTags:
    """Tags that images do not have, as far as captions tell, in the two ways captions err.

    Once a tag stands in the image's own caption; once the whole caption is another image's.
    """

    rows: np.ndarray
    """int64 [M], the image."""
    tag_ids: np.ndarray
    """int32 [M]."""
    swapped: np.ndarray
    """bool [M]: the row stands among the other tags of the other caption, else among the own."""
    own: np.ndarray
    """bool [M]: the image's own caption names the tag, too. Such a row is not wrong: it only makes
    a swapped caption whole."""


def draw_wrong_tags(observed: np.ndarray, generator: np.random.Generator) -> WrongTags:
    """Return tags of one other image's caption per image, in both ways.

    Locate them like named tags. In Evidence a swapped row gets a caption id of its own per image,
    which no named row has; any other row gets the caption id of the image's own caption.

    Args:
        observed: bool [N, T].
    """
    count = len(observed)
    rows = np.arange(count)
    others = (rows + generator.integers(1, max(count, 2), count)) % max(count, 1)
    at, tag_ids = np.nonzero(observed[others])
    own = observed[at, tag_ids]
    single = ~own
    return WrongTags(
        rows=np.concatenate([at[single], at]),
        tag_ids=np.concatenate([tag_ids[single], tag_ids]).astype(np.int32),
        swapped=np.concatenate([np.zeros(single.sum(), bool), np.ones(len(at), bool)]),
        own=np.concatenate([own[single], own]),
    )

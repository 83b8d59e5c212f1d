"""What the captions of one image say together: what one of them alone does not settle.

Only with `widen`, and only for captions that are known to be of one image.
"""

from collections.abc import Iterator, Mapping

import numpy as np

from ram_ray.labels.parser.analysis import Mentions
from ram_ray.labels.parser.resolution import HEAD, IMPLIED, NARROWER

UNSURE = (HEAD, NARROWER, IMPLIED)
"""Rules that are wrong more often than right where no other caption says the same."""
WITNESSES = 3
"""Captions of an image from which on a tag of an unsure rule needs a second one."""
MOST = 0.75
"""Share of the captions that must speak of a thing that none of them names."""


def agreed(
    mentions: Mentions,
    tag_id: np.ndarray,
    rule: np.ndarray,
    images: np.ndarray,
    rivals: Mapping[int, frozenset[int]],
    speaks_of_food: np.ndarray,
    goes_with_food: np.ndarray,
) -> np.ndarray:
    """Return which mentions stay, bool [mentions].

    Args:
        mentions: with a tag each.
        tag_id: int32 [mentions].
        rule: int8 [mentions], of `resolution.RULES`.
        images: int64 [captions], a number for each image.
        rivals: word rows to tags that the word means where the image has them ("bear" a teddy
            bear).
        speaks_of_food: bool [captions].
        goes_with_food: bool [mentions], tags that need no second caption beside food.
    """
    image, image_of_caption, captions = np.unique(images, return_inverse=True, return_counts=True)
    image_of = image_of_caption[mentions.caption]
    there = ~mentions.absent
    unsure = there & np.isin(rule, UNSURE)
    key = image_of * (tag_id.max(initial=0) + 1) + tag_id
    keep = np.ones(len(key), np.bool_)

    with_food = np.zeros(len(image), np.bool_)
    with_food[image_of_caption[speaks_of_food]] = True
    excused = goes_with_food & with_food[image_of]
    asked = np.flatnonzero(unsure & ~excused & (captions[image_of] >= WITNESSES))
    # Captions that give the tag, by whatever rule.
    given = np.unique(np.stack([key[there], mentions.caption[there]]), axis=1)[0]
    last = np.searchsorted(given, key[asked], side="right")
    votes = last - np.searchsorted(given, key[asked], side="left")
    most = (rule[asked] == IMPLIED) & (votes < MOST * captions[image_of[asked]])
    keep[asked] = (votes > 1) & ~most

    for at in _with_rivals(mentions, rivals):
        sure = there & ~unsure & (image_of == image_of[at])
        others = set(tag_id[sure].tolist())
        keep[at] &= others.isdisjoint(rivals[int(mentions.word[at])])
    return keep


def _with_rivals(mentions: Mentions, rivals: Mapping[int, frozenset[int]]) -> Iterator[int]:
    rows = np.fromiter(rivals, np.int64, len(rivals))
    yield from np.flatnonzero(np.isin(mentions.word, rows)).tolist()

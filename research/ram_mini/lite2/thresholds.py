"""From which score a tag is shown: per tag where captions of tar 9 tell, else one per teacher.

- A tag that 20 photos of tar 9 mention gets a threshold of its own, from these photos, and not
  below the one that all such tags would share by the next rule.
- All others share one threshold per teacher (captions, class head, detector), the lowest with the
  target precision on COCO's drawn objects of `coco_train2014_100_224`.
- A guess of sex or age stays off unless it is right in 80 % on tar 9; `person` is shown instead.
"""

from typing import NamedTuple

import numpy as np

from ram_model.vocabulary import OFF
from research.ram_mini.lite2.vocabulary import Words
from research.ram_mini.package import choose_thresholds

LEAST_POSITIVES = 20
TARGET_PRECISION = 0.8  # of the tags of a teacher, on COCO's drawn objects
GRID = np.arange(0.2, 0.96, 0.02)
LEAST_FIRINGS = 12  # of all tags of a teacher, for a precision to say something
SEX_AND_AGE = (
    "man", "woman", "boy", "girl", "child", "toddler", "baby", "couple", "family", "groom",
)  # fmt: skip
GUESS_PRECISION = 0.8
# Tags that this model cannot tell apart or that name no thing that a photo shows by itself.
NEVER_SHOWN = (
    "container", "nature", "equipment", "golden", "tan", "face", "head", "body", "eye", "ear",
    "nose", "mouth", "hand", "arm", "leg", "feet", "shoulder", "hair", "game", "trick", "race",
    "friends", "team", "wing", "spiral", "knot", "switch", "chain", "hook", "screw", "bubble",
    "velvet", "wool", "grille", "packet", "package", "plant", "harness", "collar", "holding",
    "falling", "fighting", "wild animal", "projectile", "nail",
)  # fmt: skip
TEACHERS = ("captions", "class head", "detector")


class Chosen(NamedTuple):
    """Thresholds, and how each came about."""

    thresholds: np.ndarray
    """float32 [C]."""
    origin: np.ndarray
    """Per tag: tar 9, one of `TEACHERS`, or off."""
    by_teacher: dict[str, float]
    """The shared threshold of each teacher."""


def choose(
    words: Words,
    by_captions: np.ndarray,
    tar_9: tuple[np.ndarray, np.ndarray],
    coco: tuple[np.ndarray, np.ndarray],
) -> Chosen:
    """Return the thresholds.

    Args:
        by_captions: bool [C], captions teach the tag.
        tar_9: truth by captions and scores, each [500, C].
        coco: drawn objects [48, 80] and scores [48, C].
    """
    names = np.array(words.names)
    truth, scores = tar_9
    thresholds = choose_thresholds(truth.astype(np.float32), scores)
    own = truth.sum(0) >= LEAST_POSITIVES
    origin = np.where(own, "tar 9", teacher_of(words, by_captions))
    # what holds on Flickr8k fires at random on photos of other kinds, below some score
    by_teacher = {"tar 9, at least": shared_threshold(words, coco, np.flatnonzero(own))}
    thresholds[own] = np.maximum(thresholds[own], by_teacher["tar 9, at least"])
    for teacher in TEACHERS:
        rest = origin == teacher
        by_teacher[teacher] = shared_threshold(words, coco, np.flatnonzero(rest))
        thresholds[rest] = by_teacher[teacher]
    for tag in np.flatnonzero(np.isin(names, SEX_AND_AGE)):
        thresholds[tag] = guess_threshold(truth[:, tag], scores[:, tag])
    thresholds[np.isin(names, NEVER_SHOWN)] = OFF
    origin[thresholds >= OFF] = "off"
    return Chosen(thresholds.astype(np.float32), origin, by_teacher)


def teacher_of(words: Words, by_captions: np.ndarray) -> np.ndarray:
    """Return which teacher says most about each tag."""
    detected = words.detector_tags.any(0)
    return np.where(by_captions, "captions", np.where(detected, "detector", "class head"))


def shared_threshold(words: Words, coco: tuple[np.ndarray, np.ndarray], tags: np.ndarray) -> float:
    """Return the lowest threshold with the target precision from there on; the last if none."""
    right, known = judge(words, coco[0])
    scores = coco[1]
    best = float(GRID[-1])
    for threshold in GRID[::-1]:
        fired = (scores[:, tags] > threshold) & known[:, tags]
        if fired.sum() < LEAST_FIRINGS:
            best = float(threshold)
            continue
        if right[:, tags][fired].mean() < TARGET_PRECISION:
            break
        best = float(threshold)
    return best


def judge(words: Words, drawn: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return bool [photos, C] twice: drawn objects say that the tag is right; they can tell.

    A tag is right that is a drawn object or above one, and a finer name of one ("beagle" of a
    dog). They can tell of tags that have something above them that an object of COCO has too.
    """
    objects = words.detector_tags.astype(np.float32)
    below_or_at = drawn.astype(np.float32) @ objects > 0
    itself = np.zeros((len(drawn), len(words.names)), np.float32)
    for column in range(objects.shape[0]):
        found = words.vocabulary.find(_name_of(words, column))
        itself[:, found] = np.maximum(itself[:, found], drawn[:, column : column + 1])
    finer = itself @ words.above.T.astype(np.float32) > 0
    reach = words.above[:, words.detector_tags.any(0)].any(1)
    known = np.broadcast_to(reach, below_or_at.shape)
    return below_or_at | finer, known


def _name_of(words: Words, column: int) -> str:
    """Return the most specific tag of a class of the detector."""
    own = np.flatnonzero(words.detector_tags[column])
    return words.names[own[words.above[own].sum(1).argmax()]]


def guess_threshold(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the lowest threshold from which a guess is right often enough; `OFF` if none."""
    found = OFF
    for threshold in GRID[::-1]:
        fired = scores > threshold
        if fired.sum() < LEAST_POSITIVES:
            continue
        if truth[fired].mean() < GUESS_PRECISION:
            break
        found = float(threshold)
    return found


def drawn_objects(labels: list[list[str]], names: list[str]) -> np.ndarray:
    """Return bool [photos, 80] of COCO's labels."""
    return np.array([[name in own for name in names] for own in labels])

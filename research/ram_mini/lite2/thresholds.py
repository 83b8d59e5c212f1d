"""From which score a tag is shown: per tag where captions of tar 9 tell, else one per teacher.

- A tag that 20 photos of tar 9 mention gets a threshold of its own, from these photos, and not
  below a floor that all such tags share: what holds on Flickr8k fires at random on other photos.
- All others share one threshold per teacher (captions, class head, detector); words for kinds of
  things ("electronics"), which are shown alone only where nothing finer is found, have their own.
- Floors and shared thresholds are the lowest with the target precision by eye (`seen.txt`), on 48
  photos of `coco_train2014_100_224` and 40 of tar 9. A tag that was judged often has a floor of
  its own.
- A guess of sex or age stays off unless it is right in 80 % on tar 9; `person` is shown instead.
"""

from pathlib import Path
from typing import NamedTuple

import numpy as np

from ram_model.vocabulary import OFF, read_lines
from research.ram_mini.lite2.features import Features
from research.ram_mini.lite2.vocabulary import Words
from research.ram_mini.package import choose_thresholds

SEEN = Path(__file__).with_name("seen.txt")
LEAST_POSITIVES = 20
TARGET_PRECISION = 0.82  # of the tags of a teacher, by eye
GRID = np.arange(0.2, 0.96, 0.02)
LEAST_FIRINGS = 12  # of all tags of a teacher, for a precision to say something
CAPTION_GAIN = (
    0.3  # captions of tar 9 confirm so far between chance and always; they leave much out
)
FLOOR_PRECISION = 0.73  # of the tags of tar 9 that were seldom judged
OFTEN_JUDGED, OFTEN_FIRINGS = 15, 6  # photos; and of one tag alone
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
KINDS = "kinds of things"  # the finer tags below them come first


class Chosen(NamedTuple):
    """Thresholds, and how each came about."""

    thresholds: np.ndarray
    """float32 [C]."""
    origin: np.ndarray
    """Per tag: tar 9, one of `TEACHERS`, `KINDS`, or off."""
    by_teacher: dict[str, float]
    """The shared threshold of each teacher."""


class Seen(NamedTuple):
    """What was judged by eye."""

    rows: np.ndarray
    """Photos, numbers as in `Features`."""
    right: np.ndarray
    """bool [photos, C]."""
    judged: np.ndarray
    """bool [photos, C]."""


def read_seen(features: Features, words: Words) -> Seen:
    """Return `seen.txt`."""
    numbers = {(p["group"], p["name"]): n for n, p in enumerate(features.photos)}
    lines = [line.split("|") for line in read_lines(SEEN) if not line.startswith("#")]
    right, wrong = (np.zeros((len(lines), len(words.names)), bool) for _ in range(2))
    for row, parts in enumerate(lines):
        for part, matrix in zip(parts[1:], (right, wrong), strict=True):
            for name in part.split():
                matrix[row, words.names.index(name.replace("_", " "))] = True
    names = [parts[0].split() for parts in lines]
    rows = np.array([numbers[group, name] for group, name in names])
    return Seen(rows, right, right | wrong)


def choose(
    words: Words,
    by_captions: np.ndarray,
    tar_9: tuple[np.ndarray, np.ndarray],
    seen: Seen,
    scores: np.ndarray,
) -> Chosen:
    """Return the thresholds.

    Args:
        by_captions: bool [C], captions teach the tag.
        tar_9: truth by captions and scores, each [500, C].
        scores: of the photos of `seen`, [photos, C].
    """
    names = np.array(words.names)
    truth, own_scores = tar_9
    thresholds = choose_thresholds(truth.astype(np.float32), own_scores, CAPTION_GAIN)
    own = truth.sum(0) >= LEAST_POSITIVES
    kinds = (words.above.sum(0) > 1) & ~own
    origin = np.where(own, "tar 9", np.where(kinds, KINDS, teacher_of(words, by_captions)))
    never = np.isin(names, NEVER_SHOWN) | (words.vocabulary.thresholds >= OFF)
    judged = seen.judged & ~never & ~np.isin(names, SEX_AND_AGE)
    often = judged.sum(0) >= OFTEN_JUDGED
    by_teacher = {}
    for teacher in ("tar 9", *TEACHERS, KINDS):
        mine = np.flatnonzero((origin == teacher) & ~often)
        alone = judged
        if teacher == KINDS:
            alone = judged & ~has_finer(words, scores > thresholds, kinds)
        target = FLOOR_PRECISION if teacher == "tar 9" else TARGET_PRECISION
        found = shared_threshold(seen.right, alone, scores, mine, target)
        by_teacher[teacher] = found
        thresholds[mine] = np.maximum(thresholds[mine], found) if teacher == "tar 9" else found
    alone = judged & ~has_finer(words, scores > thresholds, kinds)
    for tag in np.flatnonzero(often):
        found = shared_threshold(
            seen.right, alone, scores, np.array([tag]), TARGET_PRECISION, OFTEN_FIRINGS
        )
        thresholds[tag] = max(thresholds[tag], found) if own[tag] else found
    for tag in np.flatnonzero(np.isin(names, SEX_AND_AGE)):
        thresholds[tag] = guess_threshold(truth[:, tag], own_scores[:, tag])
    thresholds[never] = OFF
    origin[thresholds >= OFF] = "off"
    return Chosen(thresholds.astype(np.float32), origin, by_teacher)


def has_finer(words: Words, fired: np.ndarray, kinds: np.ndarray) -> np.ndarray:
    """Return bool [photos, C]: a tag below it, itself no kind, fired."""
    below = words.above & ~np.eye(len(kinds), dtype=bool)  # row: the finer one
    return (fired & ~kinds).astype(np.float32) @ below.astype(np.float32) > 0


def teacher_of(words: Words, by_captions: np.ndarray) -> np.ndarray:
    """Return which teacher says most about each tag."""
    detected = words.detector_tags.any(0)
    return np.where(by_captions, "captions", np.where(detected, "detector", "class head"))


def shared_threshold(
    right: np.ndarray,
    judged: np.ndarray,
    scores: np.ndarray,
    tags: np.ndarray,
    target: float,
    least: int = LEAST_FIRINGS,
) -> float:
    """Return the lowest threshold with a precision; the last one if none has it."""
    best = float(GRID[-1])
    for threshold in GRID[::-1]:
        fired = (scores[:, tags] > threshold) & judged[:, tags]
        enough = fired.sum() >= least
        if enough and right[:, tags][fired].mean() >= target:
            best = float(threshold)
    return best


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

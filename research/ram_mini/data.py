"""What ram-mini learns from: the cache of prepare_ram_mini.py, its split, and the mAP on it."""

import json
from pathlib import Path

import numpy as np

from research.ram_mini.prepare import HELD_OUT_TARS, caption_words, read_tags

CAPTION_TARS, THRESHOLD_TAR, TEST_TARS = range(9), 9, HELD_OUT_TARS


class Data:
    """The cache of prepare_ram_mini.py: pixels, teacher maps, caption targets, and the split."""

    def __init__(self, cache: Path) -> None:
        photos = json.loads((cache / "photos.json").read_text())
        self.pixels_160 = np.load(cache / "pixels_160.npy")
        self.pixels_128 = np.load(cache / "pixels_128.npy", mmap_mode="r")
        self.teacher_map = np.load(cache / "teacher_map.npy")
        vocabulary = read_tags()
        self.tags = [tag.name for tag in vocabulary]
        self.words = [caption_words(photo["captions"] or []) for photo in photos]
        rows = [[bool(tag.forms & words) for tag in vocabulary] for words in self.words]
        self.targets = np.array(rows, dtype=np.float32)
        self.tar = np.array([photo["tar"] for photo in photos])
        self.test_rows = np.flatnonzero(np.isin(self.tar, TEST_TARS))
        self.threshold_rows = np.flatnonzero(self.tar == THRESHOLD_TAR)
        self.train_rows = np.flatnonzero(~np.isin(self.tar, TEST_TARS))
        self.has_captions = np.isin(self.tar, CAPTION_TARS)


def average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean precision at the positives, best score first."""
    ranked = truth[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float((precision * ranked).sum() / ranked.sum())


def mean_ap(truth: np.ndarray, scores: np.ndarray, minimum: int = 10) -> float:
    """Return the mean average precision over tags with at least `minimum` positives."""
    columns = np.flatnonzero(truth.sum(0) >= minimum)
    return float(np.mean([average_precision(truth[:, c], scores[:, c]) for c in columns]))

"""The cache of `photos`, in memory: tokens of all views, and which photo each is of."""

import json
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from research.ram_mini.lite2.photos import CAPTION_TARS, IMAGENET, TEST_TARS, THRESHOLD_TAR
from research.ram_mini.prepare import caption_words

PUBLISHED, TUNED = "tokens.npy", "tuned.npy"


class Features:
    """Rows are views; the first `len(photos)` are the whole photos, in order."""

    def __init__(self, cache: Path, tokens: str = PUBLISHED) -> None:
        """Open the tokens of the published encoder, or of the trained one (`TUNED`)."""
        self.photos: list[dict] = json.loads((cache / "photos.json").read_text())
        self.views: np.ndarray = np.load(cache / "views.npy")
        """[rows, 6]: photo number, box, mirrored."""
        self.tokens: np.ndarray = np.load(cache / tokens, mmap_mode="r")
        """float16 [rows, 36, 1280]."""
        self.group = np.array([photo["group"] for photo in self.photos])
        self.photo_of = self.views[:, 0].astype(int)
        self.words = [caption_words(photo["captions"]) for photo in self.photos]
        captioned = [f"flickr_{number}" for number in CAPTION_TARS]
        self.has_captions = np.isin(self.group, captioned)
        """Bool, of photos: their captions are trained on."""
        self.trains = self.has_captions | (self.group == IMAGENET)
        self.train_rows = np.flatnonzero(self.trains[self.photo_of])
        """Views to train on."""
        self.threshold_rows = self.rows_of(f"flickr_{THRESHOLD_TAR}")
        self.test_rows = self.rows_of(*(f"flickr_{number}" for number in TEST_TARS))

    def rows_of(self, *groups: str) -> np.ndarray:
        """Return the whole photos of some groups."""
        return np.flatnonzero(np.isin(self.group, groups))

    def pooled(self, rows: np.ndarray) -> Tensor:
        """Return the mean over the tokens, float32 [len(rows), 1280]."""
        parts = np.array_split(rows, max(1, len(rows) // 200))
        means = [self.tokens[part].astype(np.float32).mean(1) for part in parts]
        return torch.from_numpy(np.concatenate(means))

    def batch(self, rows: np.ndarray) -> Tensor:
        """Return tokens, float32 [len(rows), 36, 1280]."""
        return torch.from_numpy(self.tokens[rows]).float()

    def said(self, forms: list[frozenset[str]]) -> np.ndarray:
        """Return bool [photos, tags]: a caption has one of the tag's words."""
        return np.array([[bool(own & words) for own in forms] for words in self.words])

"""Teach ram-mini on Lite2 to write captions; tagging stays as it is.

    python -m research.ram_mini.lite2.caption --cache CACHE --folder FOLDER --pieces OLD --minutes 5

As `research.ram_mini.caption`, on the cached features; its word pieces are those of the folder OLD,
made from the same captions. Minutes are of the clock on the wall. Prints CIDEr-D on tar 9 and on
tars 10 and 11.
"""

import argparse
import json
import math
import shutil
import time
from dataclasses import replace
from pathlib import Path
from typing import cast

import numpy as np
import torch
from torch import Tensor

from ram_model import Ram, Vocabulary, load_folder
from ram_model.captioning import Captioner
from ram_model.files.caption_files import WORD_PIECES
from ram_model.files.checkpoint import CHECKSUMS, CONFIG, VOCABULARY, WEIGHTS, write_folder
from ram_model.networks.text_generation import CaptionOptions
from ram_model.vocabulary import OFF
from ram_model.wordpiece import WordPieceTokenizer
from ram_ray.evaluation.cider import Cider
from research.ram_mini import caption as first
from research.ram_mini.cider import project
from research.ram_mini.lite2.features import TUNED, Features
from research.ram_mini.lite2.finish import predict
from research.ram_mini.prepare import has_fast_bfloat16

PHOTOS_AT_ONCE = 50
PHOTOS_PER_STEP = 16  # smaller steps, and more of them
NUM_LAYERS = 2  # the tag decoder has none to lend


class Views:
    """Tokens by photo and view, as `research.ram_mini.tokens.Photos`; view 1 is mirrored."""

    def __init__(self, features: Features) -> None:
        self.features = features
        count = len(features.photos)
        self.rows = np.tile(np.arange(count), (2, 1))
        for row in range(len(features.views) - 1, count - 1, -1):  # the first one wins
            self.rows[1, features.photo_of[row]] = row

    def __getitem__(self, at: tuple[np.ndarray, np.ndarray]) -> Tensor:
        return self.features.batch(self.rows[at[1], at[0]])


class Photos:
    """What the first recipe's caption training wants to know of the photos."""

    def __init__(self, features: Features) -> None:
        self.tokens = Views(features)
        self.captions: list[list[str]] = [photo["captions"] for photo in features.photos]
        self.train_rows = np.flatnonzero(features.has_captions)


class Guides:
    """Which tags guide the caption of a photo: those found, or some of those that captions say."""

    def __init__(
        self, model: Ram, features: Features, vocabulary: Vocabulary, said: np.ndarray
    ) -> None:
        self.names = vocabulary.names
        captioned = np.array([bool(photo["captions"]) for photo in features.photos])
        rows = np.flatnonzero(captioned & features.trains)
        self._found = np.zeros(said.shape, bool)
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
            self._found[rows] = predict(model, features, rows) > vocabulary.thresholds
        self._said = said & (vocabulary.thresholds < OFF)

    def drawn(self, rows: np.ndarray, random: np.random.Generator) -> list[list[str]]:
        """Return the found tags of half of the photos, some of the said ones of the others."""
        guides = []
        for row in rows:
            chance = random.random(len(self.names)) < random.uniform(0, first.TAG_CHANCE)
            kept = self._found[row] if random.random() < 0.5 else self._said[row] & chance
            guides.append(self._of(kept))
        return guides

    def _of(self, kept: np.ndarray) -> list[str]:
        return [self.names[tag] for tag in np.flatnonzero(kept)]


@torch.inference_mode()
def cider_d(folder: Path, features: Features, rows: np.ndarray) -> dict:
    """Return CIDEr-D of the folder's captions, and some of them."""
    loaded = load_folder(folder, captions=True)
    assert isinstance(loaded.model, Ram)
    assert loaded.tokenizer is not None
    captioner = Captioner(loaded.model, loaded.tokenizer, CaptionOptions())
    texts: list[str] = []
    for part in np.array_split(rows, math.ceil(len(rows) / PHOTOS_AT_ONCE)):
        found = predict(loaded.model, features, part) > loaded.vocabulary.thresholds
        tags = [[loaded.vocabulary.names[tag] for tag in np.flatnonzero(row)] for row in found]
        texts += captioner(project(loaded.model, features.batch(part)), tags)
    metric = Cider([features.photos[row]["captions"] for row in rows], robust=True)
    value = float(np.mean(metric.score(texts)))
    return {"cider_d": round(value, 4), "different": len(set(texts)), "first": texts[:6]}


def main(cache: Path, folder: Path, old: Path, minutes: float) -> dict:
    """Train the caption side, write it into the folder, and measure."""
    loaded, features = load_folder(folder), Features(cache, TUNED)
    assert isinstance(loaded.model, Ram)
    pieces = cache / WORD_PIECES
    shutil.copyfile(old / WORD_PIECES, pieces)
    tokenizer = WordPieceTokenizer.from_file(pieces)
    model = first.with_caption_head(loaded.model, tokenizer, NUM_LAYERS)
    guides = Guides(loaded.model, features, loaded.vocabulary, np.load(cache / "said.npy"))
    photos = cast(first.Photos, Photos(features))
    steps = first.train(
        model, tokenizer, photos, cast(first.Guides, guides), minutes * 60,
        clock=time.monotonic, photos_per_step=PHOTOS_PER_STEP,
    )  # fmt: skip
    print({"steps": steps, "cpu_s": round(time.process_time())}, flush=True)
    recorded = json.loads((folder / CHECKSUMS).read_text())
    own = (CONFIG, WEIGHTS, VOCABULARY, WORD_PIECES)
    parts = [name for name in recorded if name not in own and "caption" not in name]
    config = replace(model.config, open_set_threshold=loaded.config.open_set_threshold)
    write_folder(model.state_dict(), config, loaded.vocabulary, folder, dtype=torch.float16,
                 word_pieces=pieces, parts=parts)  # fmt: skip
    groups = {"tar_9": features.threshold_rows, "tars_10_11": features.test_rows}
    return {name: cider_d(folder, features, rows) for name, rows in groups.items()}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--cache", "--folder", "--pieces"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=5)
    a = parser.parse_args()
    print(json.dumps(main(a.cache, a.folder, a.pieces, a.minutes), indent=2))

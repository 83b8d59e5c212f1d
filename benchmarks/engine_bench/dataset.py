"""What the benchmark works on: features, captions' tags and truth, of scenes or of Flickr8k."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from benchmarks.engine_bench.scene_encoder import TOKENS, SceneEncoder, scene_tokens
from benchmarks.engine_world.pinned import Split, make_split
from benchmarks.engine_world.tags import vocabulary as scene_vocabulary
from ram_model.metrics import UNVERIFIED
from ram_model.vocabulary import Vocabulary
from ram_ray.data_engine.filter.evidence import kind_codes
from ram_ray.labels.parser.caption_parser import CaptionParser

Boxes = list[dict[int, tuple[float, float, float, float]]]


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Captioned:
    """Images with one caption each; the truth is for measuring only."""

    tokens: np.ndarray
    """float32 [N, P, D], standardised."""
    observed: np.ndarray
    """bool [N, T], the tags of the caption."""
    agreement: np.ndarray
    """int8 [N, T], the tags of a second caption, -1 where there is none."""
    truth: np.ndarray
    """bool [N, T]."""
    boxes: Boxes | None
    """Where each tag is; None: unknown."""
    swapped: np.ndarray
    """bool [N], the caption is another image's; for measuring only."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Known:
    """Images whose tags are all known."""

    tokens: np.ndarray
    truth: np.ndarray
    observed: np.ndarray
    """bool [N, T], the tags of a caption, as of the training images."""


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Dataset:
    """One seed of one world."""

    name: str
    vocabulary: Vocabulary
    train: Captioned
    trusted: Known
    test: Known
    sizes: tuple[int, ...]
    """Sides of the windows, in tokens."""

    @property
    def kinds(self) -> np.ndarray:
        """int8 [T], index into KINDS."""
        return kind_codes(self.vocabulary.kinds)

    @property
    def num_tags(self) -> int:
        """T."""
        return len(self.vocabulary)


def scenes(
    encoder: SceneEncoder, seed: int, *, counts: dict[str, int], captioned: str = "train"
) -> Dataset:
    """Return the scenes of one seed.

    Args:
        counts: images of `captioned`, "trusted" and "test".
        captioned: "train", or "validation" for the sweep of settings.
    """
    vocabulary = scene_vocabulary()
    parser = CaptionParser(vocabulary)
    split = make_split(captioned, seed, counts[captioned])
    trusted = make_split("trusted", seed, counts["trusted"])
    test = make_split("test", seed, counts["test"])
    train_tokens, *other_tokens = standardise(
        *(scene_tokens(encoder, part.images) for part in (split, trusted, test))
    )
    return Dataset(
        name="scenes",
        vocabulary=vocabulary,
        train=_captioned(split, parser, train_tokens),
        trusted=_known(trusted, parser, other_tokens[0]),
        test=_known(test, parser, other_tokens[1]),
        sizes=(3, 2),
    )


def standardise(train: np.ndarray, *others: np.ndarray) -> list[np.ndarray]:
    """Return all tokens [N, P, D] as float32, centred and scaled by the training images'."""
    sample = train[:: max(1, len(train) // 500)].astype(np.float32)
    mean, std = sample.mean((0, 1)), sample.std((0, 1)) + 1e-3
    return [(tokens.astype(np.float32) - mean) / std for tokens in (train, *others)]


def _captioned(split: Split, parser: CaptionParser, tokens: np.ndarray) -> Captioned:
    agreement = np.full(split.truth.shape, UNVERIFIED, np.int8)
    second = parse(parser, split.second_captions)
    agreement[: len(second)] = second
    return Captioned(
        tokens=tokens,
        observed=parse(parser, split.captions),
        agreement=agreement,
        truth=split.truth,
        boxes=split.boxes,
        swapped=split.swapped,
    )


def _known(split: Split, parser: CaptionParser, tokens: np.ndarray) -> Known:
    return Known(tokens=tokens, truth=split.truth, observed=parse(parser, split.captions))


def parse(parser: CaptionParser, captions: Sequence[str]) -> np.ndarray:
    """Return bool [N, T], the tags of each caption."""
    found = np.zeros((len(captions), len(parser.vocabulary)), bool)
    for row, tag_ids in enumerate(parser.parse(list(captions))["tag_ids"].to_pylist()):
        found[row, tag_ids] = True
    return found


def cached_scenes(
    cache: Path,
    encoder: SceneEncoder,
    encoder_file: Path,
    seed: int,
    *,
    counts: dict[str, int],
    captioned: str = "train",
) -> Dataset:
    """As `scenes`; drawn and encoded once per encoder, then read from `cache`."""
    sizes = "-".join(f"{name}{count}" for name, count in sorted(counts.items()))
    key = hashlib.sha256(encoder_file.read_bytes()).hexdigest()[:8]
    path = cache / f"scenes-{captioned}-{seed}-{sizes}-{key}.pt"
    if path.exists():
        # written by this function; holds numpy arrays and a vocabulary, so not weights only
        return torch.load(path, weights_only=False)
    dataset = scenes(encoder, seed, counts=counts, captioned=captioned)
    torch.save(dataset, path)
    return dataset


__all__ = ["TOKENS", "Captioned", "Dataset", "Known", "cached_scenes", "parse", "scenes"]

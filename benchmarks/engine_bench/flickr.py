"""Flickr8k: real photos with five captions each; what one caption says against what all five say.

The features are SqueezeNet's (ImageNet-1k), which has not seen these photos or their captions;
ram-mini has, so it would be no out-of-fold judge here.
"""

from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from benchmarks.engine_bench.dataset import TOKENS, Captioned, Dataset, Known, parse
from ram_model.metrics import UNVERIFIED
from ram_model.vocabulary import Vocabulary
from ram_ray.labels.parser.caption_parser import CaptionParser
from research.ram_mini.prepare import batches_of_photos, list_photos, load_teacher, stack

SIDE_PX = 224
MEAN_BGR = (104.0, 117.0, 123.0)  # Caffe's, as the weights' README says
SWAPPED = 0.15
LEAST_PHOTOS = 60
"""A tag that fewer of the 6,000 photos have is left out."""
SIZES = {"trusted": 600, "test": 1400}
"""The other 4,000 photos are captioned."""
TWICE_CAPTIONED = 1000
WIDTH = 128
"""Of the 512 features, the main components that are kept."""
VOCABULARY = Path(__file__).parents[2] / "model/ram_model/weights/ram-mini/vocabulary.parquet"


def prepare(data: Path, cache: Path) -> Path:
    """Write photos.npz: features float16 [6000, 36, 512] and tags bool [6000, 5, T]; once."""
    path = cache / "flickr8k.npz"
    if path.exists():
        return path
    tars = sorted((data / "flickr8k_train").glob("*.tar"))
    if not tars:
        raise FileNotFoundError(f"no photos in {data}/flickr8k_train: give --data.")
    captions = [row["captions"] for tar in tars for row in list_photos(0, tar)]
    parser = CaptionParser(Vocabulary.from_parquet(VOCABULARY))
    said = [parse(parser, [texts[k % len(texts)] for texts in captions]) for k in range(5)]
    tokens = np.concatenate([_tokens(tar, data) for tar in tars])
    cache.mkdir(parents=True, exist_ok=True)
    np.savez(path, tokens=tokens, said=np.stack(said, axis=1))
    return path


@torch.inference_mode()
def _tokens(tar: Path, data: Path) -> np.ndarray:
    """Return float16 [N, 36, 512] of the photos of a tar, in the order of `list_photos`."""
    network = load_teacher(data)
    parts = []
    for photos in batches_of_photos(tar):
        bgr = torch.from_numpy(stack(photos, SIDE_PX)).permute(0, 3, 1, 2).flip(1).float()
        bgr = bgr - torch.tensor(MEAN_BGR).view(1, 3, 1, 1)
        found = network.features(bgr.contiguous(memory_format=torch.channels_last))  # type: ignore[operator]
        pooled = F.adaptive_avg_pool2d(found, TOKENS)
        parts.append(pooled.flatten(2).transpose(1, 2).half().numpy())
    print(f"flickr8k: {tar.name}", flush=True)
    return np.concatenate(parts)


def photos(path: Path, seed: int, *, count: int | None = None) -> Dataset:
    """Return one seed: which photos are where, which caption is given, which are swapped.

    Args:
        count: captioned photos; None: all that are neither trusted nor test.
    """
    stored = np.load(path)
    said, tokens = stored["said"], stored["tokens"]
    truth = said.any(axis=1)
    tokens = _main_components(tokens)
    kept = np.flatnonzero(truth.sum(0) >= LEAST_PHOTOS)
    said, truth = said[:, :, kept], truth[:, kept]
    generator = np.random.default_rng([seed, 8])
    order = generator.permutation(len(truth))
    test, trusted, train = np.split(order, [SIZES["test"], SIZES["test"] + SIZES["trusted"]])
    train = train[:count]
    first, second = (said[np.arange(len(said)), k] for k in _two_captions(len(said), generator))
    observed, swapped = _swap(first[train], generator)
    agreement = np.full(observed.shape, UNVERIFIED, np.int8)
    agreement[:TWICE_CAPTIONED] = _swap(second[train], generator)[0][:TWICE_CAPTIONED]
    return Dataset(
        name="flickr8k",
        vocabulary=_vocabulary(kept),
        train=Captioned(
            tokens=tokens[train],
            observed=observed,
            agreement=agreement,
            truth=truth[train],
            boxes=None,
            swapped=swapped,
        ),
        trusted=_known(tokens, truth, first, trusted, generator),
        test=_known(tokens, truth, first, test, generator),
        sizes=(4, 3),
    )


def _main_components(tokens: np.ndarray) -> np.ndarray:
    """Return float32 [N, 36, WIDTH], standard normal: principal components of the features."""
    sample = tokens[::20].reshape(-1, tokens.shape[2]).astype(np.float32)
    mean = sample.mean(0)
    _, vectors = np.linalg.eigh(np.cov(sample - mean, rowvar=False))
    basis = vectors[:, ::-1][:, :WIDTH].astype(np.float32)
    parts = [(part.astype(np.float32) - mean) @ basis for part in np.array_split(tokens, 20)]
    return np.concatenate(parts) / ((sample - mean) @ basis).std(0)


def _known(
    tokens: np.ndarray,
    truth: np.ndarray,
    first: np.ndarray,
    rows: np.ndarray,
    generator: np.random.Generator,
) -> Known:
    observed, _ = _swap(first[rows], generator)
    return Known(tokens=tokens[rows], truth=truth[rows], observed=observed)


def _two_captions(count: int, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    first = generator.integers(5, size=count)
    return first, (first + generator.integers(1, 5, size=count)) % 5


def _swap(said: np.ndarray, generator: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Return the tags with some captions replaced by another photo's, and bool [N] which."""
    count = len(said)
    swapped = generator.random(count) < SWAPPED
    others = (np.arange(count) + generator.integers(1, count, count)) % count
    return np.where(swapped[:, None], said[others], said), swapped


def _vocabulary(kept: np.ndarray) -> Vocabulary:
    whole = Vocabulary.from_parquet(VOCABULARY)
    chosen = kept.tolist()
    return Vocabulary(
        names=tuple(whole.names[t] for t in chosen),
        thresholds=whole.thresholds[kept],
        kinds=tuple(whole.kinds[t] for t in chosen),
        aliases=tuple(whole.aliases[t] for t in chosen),
    )

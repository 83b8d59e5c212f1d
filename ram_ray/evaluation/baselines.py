"""What a model must beat: CLIP zero-shot, and a linear head on frozen features, on the same images.

| option | what it is |
|---|---|
| `clip=FOLDER` | open_clip's model in FOLDER; a tag's score is the cosine of image and prompts |
| `linear=FOLDER` | logistic regression per tag on the features of that model's image tower |
| `linear` | the same on the mean image token of the run's own model |

The linear head learns from the evaluation's own labels, in `FOLDS` parts: an image is scored by a
head that has not seen its labels. It therefore knows these tags from these labels, which the model
does not: it bounds what the features hold. FOLDER is what open_clip saves (`open_clip_config.json`
and weights) and is never downloaded. Images are decoded as in a run; CLIP sees the middle square.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

from ram_model.files.pretrained import open_model
from ram_model.metrics import PRESENT, UNVERIFIED, bootstrap_interval, mean_average_precision
from ram_model.networks.normalisation import Normalisation
from ram_model.transforms import IMAGENET_MEAN, IMAGENET_STD
from ram_model.words.prompts import open_clip_templates, write_prompts
from ram_ray.config import DecodeConfig, StoreConfig
from ram_ray.errors import ConfigError, ImageError
from ram_ray.evaluation.scored import ScoredImages
from ram_ray.images.decoder import DecodedImage, Decoder
from ram_ray.storage.reading import read_uri

FOLDS = 5
PENALTY = 0.03
"""On the squared weights of the linear head; features are standardised."""
_BATCH = 32


@dataclass(frozen=True, slots=True)
class Baseline:
    """One row beside the model's figures."""

    kind: Literal["clip", "linear"]
    folder: str | None
    """Of open_clip's model; None: the run's own model (`linear` only)."""

    @property
    def name(self) -> str:
        """As it is written on the command line."""
        return self.kind if self.folder is None else f"{self.kind}={self.folder}"

    @classmethod
    def parse(cls, text: str) -> "Baseline":
        """Return what `clip=FOLDER`, `linear=FOLDER` or `linear` means.

        Raises:
            ConfigError: it is something else, or the folder holds no model of open_clip.
        """
        kind, equals, folder = text.partition("=")
        if kind not in ("clip", "linear") or bool(equals) != bool(folder):
            raise _not_a_baseline(text)
        if kind == "clip" and not folder:
            raise _not_a_baseline(text)
        if folder and not Path(folder, "open_clip_config.json").is_file():
            raise ConfigError(f"baseline: {folder} has no open_clip_config.json.")
        return cls("clip" if kind == "clip" else "linear", folder or None)


def measure_baselines(
    baselines: list[Baseline],
    scored: ScoredImages,
    store: StoreConfig,
    *,
    num_draws: int = 200,
    seed: int = 0,
) -> list[dict[str, Any]]:
    """Return mAP on known labels of each baseline, and how far the model is above it.

    Raises:
        ConfigError: an image is gone or no longer decodes, or a model cannot be read.
        UnreachableError: an image's store.
    """
    return [
        {"name": baseline.name}
        | _compare(scored, _scores(baseline, scored, store), num_draws=num_draws, seed=seed)
        for baseline in baselines
    ]


def _compare(
    scored: ScoredImages, scores: np.ndarray, *, num_draws: int, seed: int
) -> dict[str, Any]:
    labels = scored.labels

    def value(rows: np.ndarray) -> float:
        return mean_average_precision(labels[rows], scores[rows])

    def lead(rows: np.ndarray) -> float:
        # the same images for both: what they share does not widen the interval
        return mean_average_precision(labels[rows], scored.scores[rows]) - value(rows)

    everything = np.arange(len(labels))
    found: dict[str, Any] = {}
    for name, measure, least in (("map", value, 0.0), ("model_lead", lead, -1.0)):
        ends = bootstrap_interval(
            measure, len(labels), num_draws=num_draws, seed=seed, bounds=(least, 1.0)
        )
        found[name] = {"value": measure(everything), "interval": list(ends)}
    return found


def _scores(baseline: Baseline, scored: ScoredImages, store: StoreConfig) -> np.ndarray:
    """Return scores [N, C]; only their order within a tag matters."""
    if baseline.folder is None:
        features = _own_features(scored, store)
        return linear_scores(features, scored.labels, scored.image_ids)
    clip, tokenizer = _load_clip(baseline.folder)
    features = _clip_features(clip, scored, store)
    if baseline.kind == "linear":
        return linear_scores(features, scored.labels, scored.image_ids)
    return zero_shot_scores(clip, tokenizer, features, scored.names)


def _load_clip(folder: str) -> tuple[Any, Any]:
    import open_clip

    place = f"local-dir:{folder}"
    try:
        clip = open_clip.create_model(place, require_pretrained=True)  # never random weights
        tokenizer = open_clip.get_tokenizer(place)
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        message = f"baseline: open_clip cannot load {folder}: {error}"
        raise ConfigError(message) from error
    return clip.eval(), tokenizer


@torch.inference_mode()
def zero_shot_scores(
    clip: Any, tokenizer: Any, features: np.ndarray, names: tuple[str, ...]
) -> np.ndarray:
    """Return the cosine of each image [N, E] with each tag's prompts, mean of unit vectors."""
    labels = []
    for name in names:
        prompts = write_prompts(name, open_clip_templates())
        texts = F.normalize(clip.encode_text(tokenizer(prompts)), dim=-1)
        labels.append(F.normalize(texts.mean(0), dim=0))
    images = F.normalize(torch.from_numpy(features), dim=-1)
    return (images @ torch.stack(labels).T).numpy()


def linear_scores(
    features: np.ndarray, labels: np.ndarray, image_ids: tuple[str, ...]
) -> np.ndarray:
    """Return the logits [N, C] of linear heads, each image's from a head that never saw it.

    Args:
        features: float32 [N, F].
        labels: int8 [N, C]; unverified ones are not learned from.
        image_ids: decide an image's fold, so that it does not depend on the order.
    """
    digests = [hashlib.blake2b(i.encode(), digest_size=4).digest() for i in image_ids]
    fold = np.array([int.from_bytes(digest) % FOLDS for digest in digests])
    values = torch.from_numpy(features)
    scores = np.zeros(labels.shape, dtype=np.float32)
    for number in range(FOLDS):
        seen, held_out = np.flatnonzero(fold != number), np.flatnonzero(fold == number)
        if len(seen) and len(held_out):
            head = fit_head(values[seen], torch.from_numpy(labels[seen]))
            scores[held_out] = head(values[held_out]).numpy()
    return scores


def fit_head(features_NF: Tensor, labels_NC: Tensor) -> Callable[[Tensor], Tensor]:
    """Return one logistic regression per tag, fitted on the known labels, as a function."""
    mean, std = features_NF.mean(0), features_NF.std(0, correction=0) + 1e-6
    inputs = (features_NF - mean) / std
    known = (labels_NC != UNVERIFIED).float()
    truth = (labels_NC == PRESENT).float()
    prior = ((truth.sum(0) + 0.5) / (known.sum(0) + 1)).clamp(1e-4, 1 - 1e-4)
    weight = torch.zeros(inputs.shape[1], truth.shape[1], requires_grad=True)
    bias = torch.logit(prior).requires_grad_(True)
    solver = torch.optim.LBFGS([weight, bias], max_iter=50, line_search_fn="strong_wolfe")

    def loss() -> float:
        solver.zero_grad()
        error = F.binary_cross_entropy_with_logits(
            inputs @ weight + bias, truth, weight=known, reduction="sum"
        )
        value = error / len(inputs) + PENALTY * weight.square().sum()
        value.backward()
        return value.item()

    solver.step(loss)
    weight, bias = weight.detach(), bias.detach()
    return lambda features: (features - mean) / std @ weight + bias


@torch.inference_mode()
def _own_features(scored: ScoredImages, store: StoreConfig) -> np.ndarray:
    """Return the mean image token of the run's model, float32 [N, V]."""
    model = open_model(scored.record.model).model.eval()
    normalise = Normalisation(IMAGENET_MEAN, IMAGENET_STD)
    parts = []
    for batch in _batches(scored, store, model.config.image_size_px):
        pixels = torch.from_numpy(np.stack([image.pixels for image in batch]))
        parts.append(model.image_encoder(normalise(pixels))[:, 0])
    return torch.cat(parts).numpy()


@torch.inference_mode()
def _clip_features(clip: Any, scored: ScoredImages, store: StoreConfig) -> np.ndarray:
    """Return the image tower's vectors, float32 [N, E]."""
    size = clip.visual.image_size
    side = size[0] if isinstance(size, tuple) else size
    own = clip.visual.preprocess_cfg
    normalise = Normalisation(own["mean"], own["std"])
    parts = []
    # twice the side leaves the shrinking to one good filter
    for batch in _batches(scored, store, 2 * side):
        pixels = torch.from_numpy(np.stack([_middle_square(image, side) for image in batch]))
        parts.append(clip.encode_image(normalise(pixels)).float())
    return torch.cat(parts).numpy()


def _batches(
    scored: ScoredImages, store: StoreConfig, image_size_px: int
) -> Iterator[list[DecodedImage]]:
    uris = scored.uris
    with Decoder(image_size_px, DecodeConfig(**scored.record.decode)) as decoder:
        for start in range(0, len(uris), _BATCH):
            yield [_decoded(decoder, uri, store) for uri in uris[start : start + _BATCH]]


def _decoded(decoder: Decoder, uri: str, store: StoreConfig) -> DecodedImage:
    try:
        return decoder.decode(read_uri(uri, store))
    except (FileNotFoundError, ImageError) as error:
        raise ConfigError(f"A baseline needs the run's images, but {uri}: {error}") from error


def _middle_square(image: DecodedImage, side: int) -> np.ndarray:
    """Return uint8 [side, side, 3]: shorter side to `side`, then the middle, as CLIP does it."""
    scale = side / min(image.width, image.height)
    size = (max(side, round(image.width * scale)), max(side, round(image.height * scale)))
    picture = Image.fromarray(image.pixels).resize(size, Image.Resampling.BICUBIC)
    left, top = (size[0] - side) // 2, (size[1] - side) // 2
    return np.asarray(picture.crop((left, top, left + side, top + side)))


def _not_a_baseline(text: str) -> ConfigError:
    return ConfigError(f"baseline is {text!r}, but must be clip=FOLDER, linear=FOLDER or linear.")

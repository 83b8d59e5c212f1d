"""A small RAM for scenes, trained whole: image encoder and tag decoder, from random weights.

RAM's tag decoder, labels and classifier are the product's, and so are the optimizer, the schedule
and the step (`ram_ray.training.learner`). The image encoder is a small convolutional one in place
of Swin, and the pictures come from memory instead of `ram-ray train`'s files: see RECIPE.

Shape legend: B pictures, S side in pixels (96), T tokens with the mean token, V encoder width,
C tags.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.engine_world.scenes import SIDE_PX
from ram_model import Ram
from ram_model.config import RamConfig, SwinConfig, TagDecoderConfig
from ram_model.networks.normalisation import Normalisation
from ram_model.transforms import IMAGENET_MEAN, IMAGENET_STD
from ram_ray.training.config import TrainConfig
from ram_ray.training.learner import Learner
from ram_ray.training.objective import Batch
from ram_ray.training.trained import Trained, Worker
from research.ram_mini.prepare import has_fast_bfloat16


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """How a model is trained; chosen on the development seed (900) by mAP on its trusted pictures.

    Of rates .002 and .004 and one and two decoder layers, by that of oracle; the rest are guesses.
    """

    epochs: int = 12
    """As many as there is CPU time for: oracle's mAP still rose at 24, by a point in 4 epochs."""
    batch_size: int = 32
    learning_rate: float = 2e-3
    weight_decay: float = 0.05
    warmup_steps: int = 50
    max_shift_px: int = 6
    """Pictures are moved by up to so much each way, and half of them are mirrored."""


RECIPE = Recipe()
WIDTH = 128
"""Of image tokens, labels and decoder: that of the frozen encoder's features."""
TOKENS = 6
"""Per side, as many as the frozen encoder's."""
FIRST_BIAS = -2.0
"""Of every logit before training, as of the frozen models' heads: few tags are there."""


class ConvEncoder(nn.Module):
    """Pictures to tokens, the mean of all first, as Swin's of `ram_model.networks.image_encoder`.

    The layers are those of the frozen `SceneEncoder` and one more.
    """

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_block(3, 32, 2),
            *_block(32, 64, 2),
            *_block(64, 96, 2),
            *_block(96, 128, 1),
            *_block(128, WIDTH, 1),
        ).to(memory_format=torch.channels_last)

    def forward(self, images_B3SS: Tensor) -> Tensor:
        """Return float [B, 1 + 36, 128] of normalised pictures."""
        found = self.layers(images_B3SS.contiguous(memory_format=torch.channels_last))
        tokens_BTV = F.adaptive_max_pool2d(found, TOKENS).flatten(2).transpose(1, 2)
        return torch.cat([tokens_BTV.mean(1, keepdim=True), tokens_BTV], dim=1)


def _block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


class TagObjective(Trained):
    """A model with the loss of the benchmark's other models: binary cross entropy of all tags."""

    def __init__(self, model: Ram) -> None:
        super().__init__()
        self.model = model
        self.normalisation = Normalisation(IMAGENET_MEAN, IMAGENET_STD)
        self.weights = {"tag": 1.0}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the loss, summed over pictures and tags; a float32 scalar."""
        return {
            "tag": F.binary_cross_entropy_with_logits(
                self.logits(batch.pixels), batch.targets, reduction="sum"
            )
        }

    def logits(self, pixels_BSS3: Tensor) -> Tensor:
        """Return float32 [B, C] of uint8 pixels."""
        return self.model(self.normalisation(pixels_BSS3)).float()


def new_model(num_tags: int, seed: int) -> Ram:
    """Return a RAM of random weights; the same for the same arguments, whatever the labels."""
    torch.manual_seed(seed * 100 + 97)  # the frozen models' seeds are seed * 100 + 98 and + 99
    swin = SwinConfig(
        # says how wide the tokens are (8 * embed_dim) and is replaced below
        image_size_px=SIDE_PX, window_size=6, embed_dim=WIDTH // 8,
        depths=(1, 1, 1, 1), num_heads=(1, 1, 1, 1),
    )  # fmt: skip
    decoder = TagDecoderConfig(
        hidden_dim=WIDTH, num_heads=4, num_layers=1, intermediate_dim=2 * WIDTH, dropout=0.0
    )
    model = Ram(
        RamConfig(
            kind="ram", image_encoder=swin, tag_decoder=decoder, num_tags=num_tags,
            label_dim=WIDTH, train_labels=True,
        )
    )  # fmt: skip
    encoder: nn.Module = ConvEncoder()
    model.add_module("image_encoder", encoder)
    nn.init.constant_(model.classifier.bias, FIRST_BIAS)
    return model


def train_whole(
    pixels: np.ndarray, labels: np.ndarray, *, seed: int, recipe: Recipe = RECIPE
) -> TagObjective:
    """Return a model trained on a label set, from weights and batches that the seed alone gives.

    Args:
        pixels: uint8 [N, 96, 96, 3].
        labels: bool [N, C].
    """
    objective = TagObjective(new_model(labels.shape[1], seed))
    learner = Learner(objective, _settings(recipe), Worker(), len(pixels) // recipe.batch_size)
    for step, (rows, images) in enumerate(batches(pixels, seed=seed, recipe=recipe)):
        targets = torch.from_numpy(labels[rows].astype(np.float32))
        batch = Batch(
            num_samples=len(rows),
            pixels=images,
            present=torch.ones(len(rows)),
            targets=targets,
            known=torch.ones_like(targets, dtype=torch.bool),
        )
        learner.step(step, [batch])
    return objective.eval()


def _settings(recipe: Recipe) -> TrainConfig:
    """Return the product's settings; the files that it asks for are read by its loop only."""
    return TrainConfig(
        data="-", output="-", labels="-", vocabulary="-",
        epochs=recipe.epochs, batch_size=recipe.batch_size, schedule="cosine",
        learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay,
        warmup_steps=recipe.warmup_steps,
        precision="bf16" if has_fast_bfloat16() else "fp32",
    )  # fmt: skip


def batches(
    pixels: np.ndarray, *, seed: int, recipe: Recipe = RECIPE
) -> Iterator[tuple[np.ndarray, Tensor]]:
    """Yield rows int64 [B] and pictures uint8 [B, 96, 96, 3], mirrored and moved, for every step.

    Whole batches only; the pictures left over differ from epoch to epoch.
    """
    random = np.random.default_rng([seed, 41])
    per_epoch = len(pixels) // recipe.batch_size
    for _ in range(recipe.epochs):
        order = random.permutation(len(pixels))[: per_epoch * recipe.batch_size]
        for rows in order.reshape(per_epoch, recipe.batch_size):
            yield rows, torch.from_numpy(_moved(pixels[rows], random, recipe.max_shift_px))


def _moved(images: np.ndarray, random: np.random.Generator, reach: int) -> np.ndarray:
    """Return the pictures, half of them mirrored, moved; what comes in repeats the edge."""
    mirrored = random.random(len(images)) < 0.5
    images = np.where(mirrored[:, None, None, None], images[:, :, ::-1], images)
    padded = np.pad(images, ((0, 0), (reach, reach), (reach, reach), (0, 0)), mode="edge")
    corners = random.integers(0, 2 * reach + 1, (len(images), 2))
    side = images.shape[1]
    return np.stack(
        [
            picture[top : top + side, left : left + side]
            for picture, (top, left) in zip(padded, corners, strict=True)
        ]
    )


@torch.inference_mode()
def scores_of(trained: TagObjective, pixels: np.ndarray) -> np.ndarray:
    """Return float32 [N, C], 0..1, of pictures as they are."""
    parts = [
        trained.logits(torch.from_numpy(pixels[start : start + 256])).sigmoid()
        for start in range(0, len(pixels), 256)
    ]
    return torch.cat(parts).numpy()

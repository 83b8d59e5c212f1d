"""Random views of an image, as the reference trains on: crop, mirror, RandAugment.

This module must not import torch: decoder processes load it.
"""

import hashlib
import math
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from ram_model.config import Augment
from ram_model.training.rand_augment import rand_augment
from ram_model.transforms import require_rgb, resize_for_inference

CROP_AREA = (0.2, 1.0)
"""Least and largest share of an image that a training crop takes."""
CROP_ASPECT = (3 / 4, 4 / 3)
"""Least and largest width / height of it; torchvision's RandomResizedCrop, as is the rest."""
_CROP_TRIES = 10


@dataclass(frozen=True, slots=True)
class ViewRequest:
    """Which random view of an image training wants; equal requests give equal views."""

    augment: Augment
    seed: int
    epoch: int
    sample: str


class View(NamedTuple):
    """What training sees of an image, and where in the image that lies."""

    pixels: np.ndarray
    """uint8 [S, S, 3], RGB."""
    crop: tuple[float, float, float, float]
    """Left, top, width, height of the crop as shares of the image, 0..1."""
    mirrored: bool


class CropBox(NamedTuple):
    """A part of an image, in pixels."""

    left: int
    top: int
    width: int
    height: int


def augmentation_rng(*, seed: int, epoch: int, sample: str | int) -> np.random.Generator:
    """Return the random numbers of one sample in one epoch, whoever asks and in whatever order.

    Equal for equal arguments within one version of numpy.

    Args:
        seed: of the training run, from 0.
        epoch: from 0.
        sample: what names the sample in the data set, such as its `image_id`.

    Raises:
        ValueError: seed or epoch is negative.
    """
    for name, value in (("seed", seed), ("epoch", epoch)):
        if value < 0:
            raise ValueError(f"{name} is {value}, but must be at least 0.")
    digest = hashlib.blake2b(str(sample).encode(), digest_size=16).digest()
    return np.random.default_rng([seed, epoch, int.from_bytes(digest, "little")])


def augment_for_training(image: Image.Image, size_px: int, rng: np.random.Generator) -> np.ndarray:
    """Return uint8 [size_px, size_px, 3], RGB: a random crop, perhaps mirrored, RandAugment.

    A second call with the same `rng` gives another view of the image: the reference's fine-tuning
    shows CLIP one of 224 px, and the model one of 384 px.

    Args:
        image: RGB, any size.
        rng: from `augmentation_rng`.

    Raises:
        ValueError: the image is not RGB.
    """
    return _draw_view(image, size_px, rng, "full").pixels


def training_view(image: Image.Image, size_px: int, request: ViewRequest) -> View:
    """Return the view that is asked for: `augment_for_training`, or less of it.

    Args:
        image: RGB, any size.

    Raises:
        ValueError: the image is not RGB, or seed or epoch is negative.
    """
    if request.augment == "none":
        return View(resize_for_inference(image, size_px), (0.0, 0.0, 1.0, 1.0), False)
    rng = augmentation_rng(seed=request.seed, epoch=request.epoch, sample=request.sample)
    return _draw_view(image, size_px, rng, request.augment)


def _draw_view(
    image: Image.Image, size_px: int, rng: np.random.Generator, augment: Augment
) -> View:
    require_rgb(image)
    width, height = image.size
    box = draw_crop(width, height, rng)
    image = crop_and_resize(image, box, size_px)
    mirrored = bool(rng.random() < 0.5)
    if mirrored:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if augment == "full":
        image = rand_augment(image, rng)
    shares = (box.left / width, box.top / height, box.width / width, box.height / height)
    return View(np.array(image), shares, mirrored)


def draw_crop(width: int, height: int, rng: np.random.Generator) -> CropBox:
    """Return a random crop: area within `CROP_AREA`, aspect ratio within `CROP_ASPECT`.

    Where ten tries do not fit into the image: the largest centred one of an allowed aspect ratio.
    """
    low, high = CROP_ASPECT
    for _ in range(_CROP_TRIES):
        area = width * height * rng.uniform(*CROP_AREA)
        aspect = math.exp(rng.uniform(math.log(low), math.log(high)))
        box_width, box_height = round(math.sqrt(area * aspect)), round(math.sqrt(area / aspect))
        if 0 < box_width <= width and 0 < box_height <= height:
            left = int(rng.integers(width - box_width + 1))
            return CropBox(left, int(rng.integers(height - box_height + 1)), box_width, box_height)
    box_width = min(width, max(1, round(height * high)))
    box_height = min(height, max(1, round(width / low)))
    return CropBox((width - box_width) // 2, (height - box_height) // 2, box_width, box_height)


def crop_and_resize(image: Image.Image, box: CropBox, size_px: int) -> Image.Image:
    """Return the part of the image in `box`, resized to a square: bicubic with antialiasing."""
    # Cropped first: resizing out of the whole image would let pixels beyond the box count.
    part = image.crop((box.left, box.top, box.left + box.width, box.top + box.height))
    return part.resize((size_px, size_px), Image.Resampling.BICUBIC)

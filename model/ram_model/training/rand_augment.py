"""RandAugment (arXiv 1909.13719) with the operations and strengths RAM is trained with.

Two draws with replacement, each then applied with probability one half. Source of the numbers:
recognize-anything, `ram/data/randaugment.py` (N 2, M 5 of 10). There the operations are OpenCV's;
here they are Pillow's with the same geometry (pixel centres at whole numbers, bilinear, grey
outside). Checked against OpenCV 5.0 on photos of 384 px: equal for translations, AutoContrast and
Equalize; for shears and rotation at most one level off, but in the line where image meets grey
(0.4 % of the pixels).

This module must not import torch: decoder processes load it.
"""

import math
from collections.abc import Callable

import numpy as np
from PIL import Image, ImageOps

NUM_DRAWS = 2
APPLY_PROBABILITY = 0.5

SHEAR = 0.15
TRANSLATE_PX = 5
ROTATE_DEGREES = 15
_GREY = (128, 128, 128)

Operation = Callable[[Image.Image, float], Image.Image]
"""Takes an RGB image and a sign, +1 or -1; returns an image of the same size."""


def rand_augment(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    """Return the image after two operations drawn from `OPERATIONS`, each with probability .5.

    Args:
        image: RGB, any size.
        rng: consumed six numbers at a time, whatever is drawn.
    """
    drawn = rng.integers(len(OPERATIONS), size=NUM_DRAWS)
    applied = rng.random(NUM_DRAWS) < APPLY_PROBABILITY
    signs = np.where(rng.random(NUM_DRAWS) < 0.5, 1.0, -1.0)
    operations = tuple(OPERATIONS.values())
    for number, apply, sign in zip(drawn, applied, signs, strict=True):
        if apply:
            image = operations[number](image, sign)
    return image


def shear_x(image: Image.Image, sign: float) -> Image.Image:
    """Return the image with rows moved sideways by .15 of their height."""
    return _move(image, (1, -sign * SHEAR, 0, 0, 1, 0))


def shear_y(image: Image.Image, sign: float) -> Image.Image:
    """Return the image with columns moved up or down by .15 of their distance from the left."""
    return _move(image, (1, 0, 0, -sign * SHEAR, 1, 0))


def translate_x(image: Image.Image, sign: float) -> Image.Image:
    """Return the image moved sideways by 5 pixels."""
    return _move(image, (1, 0, sign * TRANSLATE_PX, 0, 1, 0))


def translate_y(image: Image.Image, sign: float) -> Image.Image:
    """Return the image moved up or down by 5 pixels."""
    return _move(image, (1, 0, 0, 0, 1, sign * TRANSLATE_PX))


def rotate(image: Image.Image, sign: float) -> Image.Image:
    """Return the image turned by 15 degrees about (width / 2, height / 2); +1 turns to the left."""
    angle = math.radians(sign * ROTATE_DEGREES)
    cos, sin = math.cos(angle), math.sin(angle)
    x, y = image.width / 2, image.height / 2
    return _move(image, (cos, -sin, x - cos * x + sin * y, sin, cos, y - sin * x - cos * y))


def autocontrast(image: Image.Image, _sign: float) -> Image.Image:
    """Return the image with each channel stretched to 0..255."""
    return ImageOps.autocontrast(image)


def equalize(image: Image.Image, _sign: float) -> Image.Image:
    """Return the image with the histogram of each channel made flat."""
    return ImageOps.equalize(image)


def identity(image: Image.Image, _sign: float) -> Image.Image:
    """Return the image as it is."""
    return image


OPERATIONS: dict[str, Operation] = {
    "Identity": identity,
    "AutoContrast": autocontrast,
    "Brightness": identity,  # at M 5 of 10 the reference's factor is exactly 1.0
    "Sharpness": identity,  # the same
    "Equalize": equalize,
    "ShearX": shear_x,
    "ShearY": shear_y,
    "TranslateX": translate_x,
    "TranslateY": translate_y,
    "Rotate": rotate,
}


def _move(
    image: Image.Image, matrix: tuple[float, float, float, float, float, float]
) -> Image.Image:
    """Return the image whose pixel (x, y) is the source's at (ax + by + c, dx + ey + f).

    Pixel centres are at whole numbers, as in OpenCV; Pillow has them at halves.
    """
    a, b, c, d, e, f = matrix
    half = (a, b, c + (1 - a - b) / 2, d, e, f + (1 - d - e) / 2)
    return image.transform(
        image.size, Image.Transform.AFFINE, half, Image.Resampling.BILINEAR, fillcolor=_GREY
    )

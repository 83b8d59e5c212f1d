"""What ram-mini and its teacher are shown in training: crops of photos, mixed in pairs.

Shape legend: B photos, S side of the stored pixels. A crop of the photo is the same crop of
the teacher's feature map, and a box pasted from another photo is pasted into the map as well.
"""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from research.ram_mini.prepare import has_fast_bfloat16

IMAGE_SIZE_PX = 128
GRID = 4  # tokens per side of ram-mini's image
MEAN_RGB, STD_RGB = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RAM's preprocessing


class Crops(NamedTuple):
    """One crop per photo; positions and sizes as parts of the photo's sides, each [B]."""

    x: Tensor
    y: Tensor
    width: Tensor
    height: Tensor
    mirrored: Tensor
    """Bool."""


def random_crops(count: int) -> Crops:
    """Return crops with area 0.25-1 of the photo, aspect 3/4-4/3, half of them mirrored."""
    side = torch.empty(count).uniform_(0.25, 1.0).sqrt()
    aspect = torch.empty(count).uniform_(math.log(0.75), math.log(4 / 3)).exp().sqrt()
    width, height = (side * aspect).clamp(max=1), (side / aspect).clamp(max=1)
    x, y = torch.rand(count) * (1 - width), torch.rand(count) * (1 - height)
    return Crops(x, y, width, height, torch.rand(count) < 0.5)


def random_boxes(random: np.random.Generator, count: int, side: int = GRID) -> np.ndarray:
    """Return bool [B, side * side]: a random box of the grid each; empty for a third of them."""
    at = np.arange(side)
    size = random.integers(1, side, (2, count, 1))
    start = random.integers(0, side, (2, count, 1)) - size // 2
    rows, columns = (at >= start) & (at < start + size)
    mixed = random.random((count, 1, 1)) > 1 / 3
    return (rows[:, :, None] & columns[:, None, :] & mixed).reshape(count, -1)


def resize_weights(crops: Crops, inputs: int, outputs: int) -> tuple[Tensor, Tensor]:
    """Return the matrices that resize rows and columns, each float32 [B, outputs, inputs].

    Bilinear, widened where the crop shrinks, as Pillow does. Two small matrix products per
    photo are several times faster than `grid_sample`.
    """
    rows = _triangles(crops.y, crops.height, inputs, outputs)
    columns = _triangles(crops.x, crops.width, inputs, outputs)
    return rows, torch.where(crops.mirrored[:, None, None], columns.flip(1), columns)


def _triangles(start: Tensor, length: Tensor, inputs: int, outputs: int) -> Tensor:
    part = start[:, None] + length[:, None] * (torch.arange(outputs) + 0.5) / outputs
    reach = (length * inputs / outputs).clamp(min=1)[:, None, None]
    distance = torch.arange(inputs) - (part * inputs - 0.5)[:, :, None]
    weights = (1 - distance.abs() / reach).clamp(min=0)
    return weights / weights.sum(-1, keepdim=True)


def augment(pixels: Tensor, crops: Crops) -> Tensor:
    """Return normalised crops, float32 [B, 3, 128, 128], of uint8 [B, S, S, 3]; colours jittered.

    Brightness, contrast and saturation change together as one affine map of each photo's colours.
    """
    dtype = torch.bfloat16 if has_fast_bfloat16() else torch.float32
    count, side = pixels.shape[:2]
    rows, columns = (w.to(dtype) for w in resize_weights(crops, side, IMAGE_SIZE_PX))
    tall = (rows @ pixels.to(dtype).flatten(2)).view(count, IMAGE_SIZE_PX, side, 3)
    images = torch.matmul(tall.permute(0, 3, 1, 2), columns.transpose(1, 2)[:, None])
    flat = images.float().flatten(2).div_(255)  # [B, 3, 128 * 128]
    brightness, contrast, saturation = torch.empty(3, count, 1, 1).uniform_(0.7, 1.3)
    mean = flat.mean((1, 2), keepdim=True)
    colours = contrast * (saturation * torch.eye(3) + (1 - saturation) / 3)
    offset = (mean * (brightness - contrast)).expand(-1, 3, 1)
    flat = torch.baddbmm(offset, colours, flat).clamp_(0, 1)
    return normalise(flat.view(count, 3, IMAGE_SIZE_PX, IMAGE_SIZE_PX))


def paste(images: Tensor, taken: Tensor) -> Tensor:
    """Return images [B, 3, 128, 128] with the boxes `taken` (bool [B, 16]) from the photo before.

    The first photo takes from the last.
    """
    cell = IMAGE_SIZE_PX // GRID
    box = taken.view(-1, 1, GRID, GRID).repeat_interleave(cell, 2).repeat_interleave(cell, 3)
    return torch.where(box, images.roll(1, 0), images)


def normalise(images: Tensor) -> Tensor:
    """Return images of 0..1 with RAM's statistics taken out."""
    mean, std = torch.tensor(MEAN_RGB), torch.tensor(STD_RGB)
    return (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)

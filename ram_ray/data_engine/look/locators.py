"""Where in an image a tag is: what every locator gives, and the check of what it gave.

A locator is `windows.WindowLocator` (needs no weights but the tagger's), an ONNX detector
(`onnx_detector`) or Grounding DINO (`grounding_dino`).
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np

Box = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of width and height, 0..1, y down."""

MIN_SIDE = 0.01
"""A box whose side is a smaller share of the image shows nothing: 2 pixels of 224."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Region:
    """A place that may show a tag."""

    tag_id: int
    box: Box
    score: float
    """0..1, of the locator; only comparable within one locator."""


class Locator(Protocol):
    """Finds the regions of tags in one image."""

    name: str
    """Goes into the provenance of every region."""

    def regions(self, image: np.ndarray, tag_ids: Sequence[int]) -> list[Region]:
        """Return the regions of these tags, best first per tag; none for a tag not found.

        Args:
            image: uint8 [H, W, 3], RGB, any size.
            tag_ids: vocabulary ids; those that the locator has no word for are not found.
        """
        ...


class RegionTagger(Protocol):
    """Scores crops, and describes them by a vector."""

    image_size_px: int

    def describe(self, images: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return scores float32 [n, T], 0..1, and pooled encoder features float32 [n, D].

        Args:
            images: uint8 [n, S, S, 3], RGB, S = image_size_px, any n.
        """
        ...


def check_regions(
    regions: Sequence[Region], tag_ids: Sequence[int]
) -> tuple[list[Region], list[str]]:
    """Return the usable regions, clipped to the image, and why each of the others is not.

    A region is unusable when a number of it is NaN or infinite, its box has no area inside the
    image, or nobody asked for its tag. Unusable regions are counted, never fatal.
    """
    wanted, good, problems = set(tag_ids), [], []
    for region in regions:
        problem = _problem(region, wanted)
        if problem is None:
            left, top, right, bottom = (min(max(float(v), 0.0), 1.0) for v in region.box)
            box = (left, top, right, bottom)
            score = min(max(float(region.score), 0.0), 1.0)
            good.append(Region(tag_id=region.tag_id, box=box, score=score))
        else:
            problems.append(problem)
    return good, problems


def _problem(region: Region, wanted: set[int]) -> str | None:
    if not all(map(math.isfinite, (*region.box, region.score))):
        return "not_finite"
    if region.tag_id not in wanted:
        return "tag_not_asked_for"
    left, top, right, bottom = (min(max(v, 0.0), 1.0) for v in region.box)
    if right - left < MIN_SIDE or bottom - top < MIN_SIDE:
        return "empty_box"
    return None


def crop(image: np.ndarray, box: Box, size_px: int) -> np.ndarray:
    """Return the part of an image in a box, uint8 [size_px, size_px, 3].

    Args:
        image: uint8 [H, W, 3].
        box: inside the image; widened to one pixel where it is thinner.
    """
    from PIL import Image

    height, width = image.shape[:2]
    left = min(int(box[0] * width), width - 1)
    top = min(int(box[1] * height), height - 1)
    right = max(left + 1, min(width, math.ceil(box[2] * width)))
    bottom = max(top + 1, min(height, math.ceil(box[3] * height)))
    part = Image.fromarray(np.ascontiguousarray(image[top:bottom, left:right]))
    return np.asarray(part.resize((size_px, size_px), Image.Resampling.BILINEAR))

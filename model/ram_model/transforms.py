"""Image preprocessing, as the reference does it."""

import numpy as np
from PIL import Image


def to_rgb(image: Image.Image) -> Image.Image:
    """Convert any Pillow mode to RGB: alpha dropped, no orientation, no colour profile."""
    return image.convert("RGB")


def resize_for_inference(image: Image.Image, size_px: int) -> np.ndarray:
    """Return uint8 [size_px, size_px, 3] RGB, bilinear with antialias, aspect ratio not kept."""
    resized = to_rgb(image).resize((size_px, size_px), Image.Resampling.BILINEAR)
    return np.asarray(resized)

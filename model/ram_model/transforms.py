"""Images to model input, exactly as the reference's inference preprocessing sees them.

This module must not import torch: decoder processes load it, and only they touch full-size pixels.
Normalisation happens later, on the device (`ram_model.tagger`).
"""

import numpy as np
from PIL import Image

# Of ImageNet, over pixels in 0..1, RGB order: what the reference uses at inference
# (recognize-anything, `ram/transform.py`). Its training uses CLIP's statistics instead.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


def to_rgb(image: Image.Image) -> Image.Image:
    """Return the image as 8-bit RGB, by Pillow's own conversion.

    As in the reference: alpha is dropped, 16-bit greyscale is clipped (not scaled), EXIF
    orientation and colour profiles are not looked at.
    """
    return image.convert("RGB")


def resize_for_inference(image: Image.Image, size_px: int) -> np.ndarray:
    """Return uint8 [size_px, size_px, 3], RGB: bilinear with antialiasing, aspect ratio not kept.

    Args:
        image: RGB, any size.

    Raises:
        ValueError: the image is not RGB.
    """
    if image.mode != "RGB":
        raise ValueError(f"The image mode is {image.mode!r}, but must be RGB: call to_rgb first.")
    return np.array(image.resize((size_px, size_px), Image.Resampling.BILINEAR))

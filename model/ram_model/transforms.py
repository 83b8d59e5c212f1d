"""Images to model input, as the reference does it.

Inference: to_rgb, resize_for_inference, normalise with the ImageNet statistics. Training: to_rgb,
`training.augmentation`, normalise with CLIP's statistics (so differ the two in the reference).

This module must not import torch: decoder processes load it, and only they touch full-size pixels.
Normalisation happens later, on the device (`ram_model.networks.normalisation`).
"""

import numpy as np
from PIL import Image

# Over pixels in 0..1, RGB order (recognize-anything, `ram/transform.py` and `ram/data/`).
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
CLIP_MEAN = (0.48145466, 0.4578275, 0.40821073)
CLIP_STD = (0.26862954, 0.26130258, 0.27577711)


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
    require_rgb(image)
    return np.array(image.resize((size_px, size_px), Image.Resampling.BILINEAR))


def require_rgb(image: Image.Image) -> None:
    """Raise ValueError unless the image is RGB."""
    if image.mode != "RGB":
        raise ValueError(f"The image mode is {image.mode!r}, but must be RGB: call to_rgb first.")

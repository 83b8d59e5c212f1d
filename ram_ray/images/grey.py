"""Grey that is wider than 8 bit, brought to 0..255: what Pillow's own conversion clips or blackens.

The reference converts with Pillow: 16-bit grey above 255 becomes white, floats in 0..1 black.
"""

import numpy as np
from PIL import Image

from ram_ray.config import WideGrey
from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.images.remarks import Remark

_WIDE_MODES = ("I;16", "I;16B", "I;16L", "I;16N", "I")


def narrow_grey(image: Image.Image, wide_grey: WideGrey) -> tuple[Image.Image, tuple[Remark, ...]]:
    """Return the image, in mode L where it was float grey or scaled, and what was lost.

    Raises:
        ImageError: `unsupported_format`, of float grey that is not all within 0..1.
    """
    if image.mode == "F":
        return _float_grey(image), ()
    if image.mode not in _WIDE_MODES:
        return image, ()
    values = np.asarray(image)
    if wide_grey == "scale":
        values = np.clip(values, 0, 65535)  # 32-bit grey may be wider still
        return Image.fromarray(((values.astype(np.uint32) + 128) // 257).astype(np.uint8)), ()
    return image, (Remark.WIDE_GREY_CLIPPED,) if values.max() > 255 else ()


def _float_grey(image: Image.Image) -> Image.Image:
    values = np.asarray(image)
    if not (values.min() >= 0 and values.max() <= 1):  # also false for NaN
        raise ImageError(
            ImageErrorCode.UNSUPPORTED_FORMAT,
            "The file is float grey with values outside 0..1, whose black and white are unknown.",
        )
    return Image.fromarray((values * 255 + 0.5).astype(np.uint8))

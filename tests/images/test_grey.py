"""Grey of more than 8 bit: clipped as the reference does, or scaled; floats never turn black."""

import io

import numpy as np
import pytest
from PIL import Image

from ram_ray.config import DecodeConfig
from ram_ray.errors import ConfigError, ImageError, ImageErrorCode
from ram_ray.images.decode_bytes import DecodedImage, decode
from ram_ray.images.remarks import Remark

RAMP = np.arange(256).reshape(16, 16)  # every grey, in no pattern that resizing could hide
SCALE = DecodeConfig(wide_grey="scale")


def encoded(values: np.ndarray, format_name: str) -> bytes:
    file = io.BytesIO()
    Image.fromarray(values).save(file, format_name)
    return file.getvalue()


def grey_of(decoded: DecodedImage) -> list[int]:
    """The picture at its own size: each pixel as it was decoded."""
    assert (decoded.pixels == decoded.pixels[..., :1]).all()
    return decoded.pixels[..., 0].ravel().tolist()


def test_float_grey_within_0_and_1_is_scaled() -> None:
    data = encoded((RAMP / 255).astype(np.float32), "TIFF")

    decoded = decode(data, 16, DecodeConfig())

    assert grey_of(decoded) == list(range(256))
    assert decoded.remarks == ()


@pytest.mark.parametrize("odd", [1.001, -0.001, 255.0, np.nan, np.inf, -np.inf])
def test_other_float_grey_is_an_unsupported_format(odd: float) -> None:
    values = (RAMP / 255).astype(np.float32)
    values[7, 7] = odd

    with pytest.raises(ImageError, match=r"outside 0\.\.1") as raised:
        decode(encoded(values, "TIFF"), 16, DecodeConfig())
    assert raised.value.code is ImageErrorCode.UNSUPPORTED_FORMAT


@pytest.mark.parametrize("format_name", ["PNG", "TIFF"])
def test_16_bit_grey_is_clipped_and_counted_or_scaled(format_name: str) -> None:
    data = encoded((RAMP * 257).astype(np.uint16), format_name)

    clipped = decode(data, 16, DecodeConfig())
    scaled = decode(data, 16, SCALE)

    assert grey_of(clipped) == [0] + [255] * 255
    assert clipped.remarks == (Remark.WIDE_GREY_CLIPPED,)
    assert grey_of(scaled) == list(range(256))
    assert scaled.remarks == ()


def test_16_bit_grey_that_fits_loses_nothing_and_is_not_counted() -> None:
    decoded = decode(encoded(RAMP.astype(np.uint16), "PNG"), 16, DecodeConfig())

    assert grey_of(decoded) == list(range(256))
    assert decoded.remarks == ()


def test_8_bit_pictures_are_the_same_either_way() -> None:
    data = encoded(RAMP.astype(np.uint8), "PNG")

    assert grey_of(decode(data, 16, SCALE)) == grey_of(decode(data, 16, DecodeConfig()))


def test_other_choices_are_refused() -> None:
    with pytest.raises(ConfigError, match="wide_grey is 'stretch', but must be clip or scale"):
        DecodeConfig(wide_grey="stretch")  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="formats is 'psd', but must be heic or jxl"):
        DecodeConfig(formats=("psd",))  # type: ignore[arg-type]

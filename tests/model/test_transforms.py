import numpy as np
import pytest
from PIL import Image

from ram_model.transforms import resize_for_inference, to_rgb


def test_size_type_and_aspect_ratio() -> None:
    pixels = np.zeros((40, 100, 3), dtype=np.uint8)
    pixels[:, 50:] = (10, 20, 200)
    out = resize_for_inference(Image.fromarray(pixels), 64)
    assert (out.shape, out.dtype) == ((64, 64, 3), np.dtype(np.uint8))
    # no crop: the halves stay halves
    assert out[0, 20].tolist() == [0, 0, 0]
    assert out[63, 43].tolist() == [10, 20, 200]
    assert out.flags.writeable


def test_shrinking_is_antialiased() -> None:
    stripes = np.zeros((64, 64, 3), dtype=np.uint8)
    stripes[:, ::2] = 200
    out = resize_for_inference(Image.fromarray(stripes), 16)
    # a bilinear lookup without antialiasing would give 0 or 200 somewhere
    assert abs(out[:, 2:-2].astype(int) - 100).max() <= 5


@pytest.mark.parametrize(
    ("image", "expected"),
    [
        (Image.new("L", (2, 2), 7), (7, 7, 7)),
        (Image.new("RGBA", (2, 2), (1, 2, 3, 0)), (1, 2, 3)),  # alpha is dropped, not applied
        (Image.new("LA", (2, 2), (9, 0)), (9, 9, 9)),
        (Image.new("1", (2, 2), 1), (255, 255, 255)),
        (Image.new("CMYK", (2, 2), (255, 0, 0, 0)), (0, 255, 255)),
        (Image.new("I;16", (2, 2), 40000), (255, 255, 255)),  # clipped, not scaled
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else "",
)
def test_conversion_to_rgb(image: Image.Image, expected: tuple[int, int, int]) -> None:
    assert to_rgb(image).getpixel((0, 0)) == expected


def test_other_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="mode is 'L', but must be RGB"):
        resize_for_inference(Image.new("L", (4, 4)), 8)

"""HEIC and JPEG XL: read where a run asks for them, by packages that nobody gets unasked."""

import importlib.util
import io
import random
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageOps

from ram_ray.config import DecodeConfig
from ram_ray.errors import ConfigError, ImageError, ImageErrorCode
from ram_ray.images import extra_formats
from ram_ray.images.decode_bytes import decode
from ram_ray.images.decoder import Decoder
from ram_ray.images.extra_formats import ExtraDecoder, decoder_versions
from ram_ray.images.jxl_header import jxl_size

SIZE = 32
BOTH = DecodeConfig(formats=("jxl", "heic"))
UPRIGHT = DecodeConfig(formats=("heic", "jxl"), orientation="apply")

needs_heic = pytest.mark.skipif(
    importlib.util.find_spec("pillow_heif") is None, reason="pip install 'ram-ray[heic]'"
)
needs_jxl = pytest.mark.skipif(
    importlib.util.find_spec("pillow_jxl") is None, reason="pip install 'ram-ray[jxl]'"
)
each_format = pytest.mark.parametrize(
    "name", [pytest.param("heic", marks=needs_heic), pytest.param("jxl", marks=needs_jxl)]
)


def picture() -> Image.Image:
    y, x = np.mgrid[0:40, 0:60]
    channels = [x * 255 // 60, y * 255 // 40, (x + y) * 2]
    return Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))


def encoded(name: str, image: Image.Image, **options: Any) -> bytes:
    """Return a file that the package itself writes."""
    file = io.BytesIO()
    if name == "heic":  # as `save` of Pillow does it, but no plugin is registered for all tests
        from pillow_heif.as_plugin import _save_heif as save

        options = {"quality": -1, "chroma": 444, **options}
    else:
        from pillow_jxl.JpegXLImagePlugin import _save as save

        options = {"lossless": True, **options}
    image.encoderinfo = options  # type: ignore[attr-defined]
    save(image, file, "")
    return file.getvalue()


def oriented(name: str, orientation: int) -> tuple[bytes, np.ndarray]:
    """Return a file that says how to turn it, and the picture upright."""
    exif = Image.Exif()
    exif[274] = orientation
    file = io.BytesIO()
    picture().save(file, "PNG", exif=exif)
    image = Image.open(file)
    image.load()
    upright = ImageOps.exif_transpose(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
    return encoded(name, image, exif=exif.tobytes()), np.asarray(upright)


def close(pixels: np.ndarray, expected: np.ndarray) -> bool:
    return bool(np.abs(pixels.astype(int) - expected).mean() < 3)


@each_format
def test_a_format_is_read_only_where_it_is_asked_for(name: str) -> None:
    data = encoded(name, picture())
    expected = picture().resize((SIZE, SIZE), Image.Resampling.BILINEAR)

    with Decoder(SIZE, BOTH) as decoder:
        decoded = decoder.decode(data)
    with pytest.raises(ImageError, match="--formats") as raised:
        decode(data, SIZE, DecodeConfig())

    assert close(decoded.pixels, np.asarray(expected))
    assert (decoded.width, decoded.height) == (60, 40)
    assert raised.value.code is ImageErrorCode.UNSUPPORTED_FORMAT


@each_format
@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_picture_is_turned_exactly_once(name: str, orientation: int) -> None:
    """HEIC says it twice, by `irot` or `imir` and by EXIF; the package's JPEG XL by EXIF alone."""
    data, upright = oriented(name, orientation)

    assert close(decode(data, SIZE, UPRIGHT).pixels, upright)
    if name == "heic":
        assert (b"irot" in data or b"imir" in data) == (orientation != 1)
        assert close(decode(data, SIZE, BOTH).pixels, upright)  # libheif turns in any case


@needs_jxl
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("keeps_jpeg", [True, False])
def test_a_jpeg_inside_jpeg_xl_is_turned_exactly_once(
    tmp_path: Any, orientation: int, keeps_jpeg: bool
) -> None:
    """Here the stream's header and EXIF both say it; without `jbrd` it decodes as any JPEG XL."""
    exif = Image.Exif()
    exif[274] = orientation
    picture().save(tmp_path / "a.jpg", exif=exif, quality=95, subsampling=0)
    with Image.open(tmp_path / "a.jpg") as image:
        image.load()
        upright = ImageOps.exif_transpose(image).resize((SIZE, SIZE), Image.Resampling.BILINEAR)
        data = encoded("jxl", image, lossless_jpeg=True)
    assert b"jbrd" in data
    if not keeps_jpeg:
        data = data.replace(b"jbrd", b"free", 1)

    assert close(decode(data, SIZE, UPRIGHT).pixels, np.asarray(upright))


@each_format
def test_the_pixel_limit_holds_before_pixels_are_decoded(name: str) -> None:
    data = encoded(name, picture())
    config = DecodeConfig(formats=("heic", "jxl"), max_image_pixels=2399)

    with pytest.raises(ImageError, match="60 x 40 pixels") as raised:
        decode(data, SIZE, config)
    assert raised.value.code is ImageErrorCode.TOO_LARGE


@each_format
def test_damage_is_an_image_error_and_leaves_the_child_alive(name: str) -> None:
    data = encoded(name, picture())
    chance = random.Random(0)
    codes: set[ImageErrorCode] = set()
    with Decoder(SIZE, UPRIGHT) as decoder:
        decoder.decode(data)
        child = decoder.child_pid
        for _ in range(60):
            bad = bytearray(data)
            for _ in range(chance.randrange(1, 4)):
                bad[chance.randrange(len(bad))] = chance.randrange(256)
            kept = len(bad) if chance.random() < 0.6 else chance.randrange(len(bad))
            try:
                decoder.decode(bytes(bad[:kept]))
            except ImageError as error:
                codes.add(error.code)
        assert decoder.child_pid == child
    assert codes
    assert ImageErrorCode.DECODE_CRASH not in codes


@needs_jxl
@pytest.mark.parametrize(
    "size", [(1, 1), (8, 8), (256, 256), (512, 256), (640, 480), (1920, 1080), (4000, 3), (3, 9000)]
)
def test_the_size_of_a_jpeg_xl_is_read_from_its_header(size: tuple[int, int]) -> None:
    data = encoded("jxl", Image.new("RGB", size))

    assert jxl_size(data) == size
    boxes = b"\x00\x00\x00\x0cJXL \r\n\x87\n" + b"\x00\x00\x00\x0cxml abcd"
    assert jxl_size(boxes + (8 + len(data)).to_bytes(4, "big") + b"jxlc" + data) == size
    parts = (14).to_bytes(4, "big") + b"jxlp" + bytes(4) + data[:2]
    parts += (12 + len(data) - 2).to_bytes(4, "big") + b"jxlp" + b"\x80\x00\x00\x01" + data[2:]
    assert jxl_size(boxes + parts) == size
    assert jxl_size(boxes) == (0, 0)


@needs_jxl  # pillow-heif gives 8 bits
def test_wide_and_float_grey_follow_the_same_rules() -> None:
    ramp = np.arange(256).reshape(16, 16)
    wide = encoded("jxl", Image.fromarray((ramp * 257).astype(np.uint16)))
    scaled = decode(wide, 16, DecodeConfig(formats=("jxl",), wide_grey="scale"))
    assert np.abs(scaled.pixels[..., 0].astype(int) - ramp).max() <= 1
    assert [one.value for one in decode(wide, 16, BOTH).remarks] == ["wide_grey_clipped"]


def test_a_machine_without_the_package_is_refused_at_start(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gone = ExtraDecoder("pillow-gone", (1, 0, 0), "pillow_gone")
    monkeypatch.setitem(extra_formats.DECODERS, "heic", gone)
    with pytest.raises(ConfigError, match=r"asks for heic, but pillow-gone is not here.*ram-ray\["):
        Decoder(SIZE, DecodeConfig(formats=("heic",)))
    assert decoder_versions(()) == {}


@needs_heic
def test_a_package_or_library_that_is_too_old_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert decoder_versions(("heic",))["libheif"].count(".") == 2
    monkeypatch.setattr(extra_formats, "MINIMUM_LIBHEIF", (99, 0, 0))
    with pytest.raises(ConfigError, match=r"libheif is .* but must be 99\.0\.0 or later"):
        decoder_versions(("heic",))
    newer = ExtraDecoder("pillow-heif", (99, 0, 0), "pillow_heif")
    monkeypatch.setitem(extra_formats.DECODERS, "heic", newer)
    with pytest.raises(ConfigError, match=r"pillow-heif is .* but must be 99\.0\.0 or later"):
        Decoder(SIZE, DecodeConfig(formats=("heic",)))

"""In-process decoding: parity with Pillow, limits, verdicts. Every file is made here."""

import contextlib
import io
import struct
import zlib

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps

from ram_ray.config import DecodeConfig
from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.images.decode_bytes import decode

SIZE = 48
CONFIG = DecodeConfig()


def picture(mode: str = "RGB", width: int = 60, height: int = 40) -> Image.Image:
    """A picture without symmetries: every turn and mirror image of it differs."""
    y, x = np.mgrid[0:height, 0:width]
    channels = [x * 255 // width, y * 255 // height, (x * 7 + y * 13) % 256]
    rgb = Image.fromarray(np.stack(channels, axis=-1).astype(np.uint8))
    if mode == "RGBA":
        rgb.putalpha(Image.fromarray((x * 4 % 256).astype(np.uint8)))
        return rgb
    if mode == "I;16":
        return Image.fromarray(((x + y) * 5).astype(np.uint16))  # both sides of 255
    return rgb.convert(mode)


def encode(image: Image.Image, format_name: str, **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, format_name, **options)  # type: ignore[arg-type]
    return file.getvalue()


def reference(data: bytes) -> np.ndarray:
    """The reference preprocessing up to uint8, in its own words."""
    with Image.open(io.BytesIO(data)) as image:
        rgb = image.convert("RGB")
    return np.asarray(rgb.resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def verdict(data: bytes, config: DecodeConfig = CONFIG) -> ImageError:
    with pytest.raises(ImageError) as raised:
        decode(data, SIZE, config)
    assert len(raised.value.message) <= 200
    assert "0x" not in raised.value.message
    assert raised.value.message.endswith(".")
    return raised.value


def png_chunk(kind: bytes, body: bytes) -> bytes:
    checksum = zlib.crc32(kind + body)
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def animation() -> dict[str, object]:
    return {"save_all": True, "append_images": [ImageOps.invert(picture()) for _ in range(2)]}


ENCODINGS = {
    "jpeg baseline": lambda: encode(picture(), "JPEG"),
    "jpeg progressive": lambda: encode(picture(), "JPEG", progressive=True),
    "jpeg greyscale": lambda: encode(picture("L"), "JPEG"),
    "jpeg cmyk": lambda: encode(picture("CMYK"), "JPEG"),
    "jpeg two pictures (mpo)": lambda: encode(picture(), "MPO", **animation()),
    "png rgb": lambda: encode(picture(), "PNG"),
    "png 16-bit": lambda: encode(picture("I;16"), "PNG"),
    "png palette": lambda: encode(picture("P"), "PNG"),
    "png palette, transparent colour": lambda: encode(picture("P"), "PNG", transparency=3),
    "png alpha": lambda: encode(picture("RGBA"), "PNG"),
    "png grey alpha": lambda: encode(picture("RGBA").convert("LA"), "PNG"),
    "png 1-bit": lambda: encode(picture("1"), "PNG"),
    "png animated": lambda: encode(picture(), "PNG", **animation()),
    "webp lossy": lambda: encode(picture(), "WEBP"),
    "webp lossless alpha": lambda: encode(picture("RGBA"), "WEBP", lossless=True),
    "webp animated": lambda: encode(picture(), "WEBP", **animation()),
    "gif": lambda: encode(picture("P"), "GIF"),
    "gif animated": lambda: encode(picture(), "GIF", **animation()),
    "bmp": lambda: encode(picture(), "BMP"),
    "dib": lambda: encode(picture(), "DIB"),
    "tiff": lambda: encode(picture(), "TIFF"),
    "tiff lzw": lambda: encode(picture(), "TIFF", compression="tiff_lzw"),
    "tiff cmyk": lambda: encode(picture("CMYK"), "TIFF"),
    "tiff pages": lambda: encode(picture(), "TIFF", **animation()),
    "avif": lambda: encode(picture(), "AVIF"),
}


@pytest.mark.parametrize("name", ENCODINGS)
def test_pixels_are_bit_equal_with_the_reference(name: str) -> None:
    data = ENCODINGS[name]()

    decoded = decode(data, SIZE, CONFIG)

    assert decoded.pixels.dtype == np.uint8
    np.testing.assert_array_equal(decoded.pixels, reference(data), strict=True)
    assert (decoded.width, decoded.height) == (60, 40)


def test_16_bit_is_clipped_not_scaled() -> None:
    decoded = decode(ENCODINGS["png 16-bit"](), SIZE, CONFIG)

    assert decoded.pixels[-1, -1].tolist() == [255, 255, 255]  # 490 of 65535


def oriented(orientation: int, format_name: str = "JPEG") -> bytes:
    exif = Image.Exif()
    exif[274] = orientation
    return encode(picture(), format_name, exif=exif)


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("format_name", ["JPEG", "PNG", "WEBP"])
def test_orientation_is_ignored_or_applied(orientation: int, format_name: str) -> None:
    data = oriented(orientation, format_name)
    upright = ImageOps.exif_transpose(Image.open(io.BytesIO(data))).convert("RGB")
    expected = np.asarray(upright.resize((SIZE, SIZE), Image.Resampling.BILINEAR))

    ignored = decode(data, SIZE, CONFIG)
    applied = decode(data, SIZE, DecodeConfig(orientation="apply"))

    np.testing.assert_array_equal(ignored.pixels, reference(data))
    np.testing.assert_array_equal(applied.pixels, expected)
    assert (orientation == 1) == np.array_equal(ignored.pixels, applied.pixels)
    assert (ignored.width, ignored.height) == (applied.width, applied.height) == (60, 40)


@pytest.mark.parametrize("orientation", [3, 6])
def test_tiff_orientation_is_pillows_own_and_not_applied_twice(orientation: int) -> None:
    data = encode(picture(), "TIFF", tiffinfo={274: orientation})

    ignored = decode(data, SIZE, CONFIG)
    applied = decode(data, SIZE, DecodeConfig(orientation="apply"))

    np.testing.assert_array_equal(ignored.pixels, reference(data))
    np.testing.assert_array_equal(applied.pixels, ignored.pixels)
    assert (ignored.width, ignored.height) == (60, 40)


def test_broken_exif_costs_only_the_turn() -> None:
    broken = b"Exif\x00\x00II*\x00\xff\xff\xff\x7f" + b"\xff" * 20
    data = encode(picture(), "JPEG", exif=broken)

    decoded = decode(data, SIZE, DecodeConfig(orientation="apply"))

    with pytest.warns(UserWarning, match="Corrupt EXIF data"):
        np.testing.assert_array_equal(decoded.pixels, reference(data))


def test_zero_bytes_are_empty() -> None:
    assert verdict(b"").code is ImageErrorCode.EMPTY


def test_text_is_not_an_image() -> None:
    assert verdict(b"image_id,label\n1,cat\n").code is ImageErrorCode.NOT_AN_IMAGE


def test_heic_is_an_unsupported_format() -> None:
    error = verdict(b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic" + bytes(100))

    assert error.code is ImageErrorCode.UNSUPPORTED_FORMAT
    assert "HEIC" in error.message


def test_a_bitmap_of_odd_depth_is_an_unsupported_format() -> None:
    data = bytearray(encode(picture(), "BMP"))
    data[28] = 2  # biBitCount

    assert verdict(bytes(data)).code is ImageErrorCode.UNSUPPORTED_FORMAT


STILLS = [name for name in ENCODINGS if not any(w in name for w in ("mpo", "animated", "pages"))]


@pytest.mark.parametrize("name", STILLS)
@pytest.mark.parametrize("kept", [0.05, 0.3, 0.6])
def test_a_cut_file_is_truncated(name: str, kept: float) -> None:
    data = ENCODINGS[name]()
    cut = data[: max(16, int(len(data) * kept))]

    assert verdict(cut).code is ImageErrorCode.TRUNCATED


def test_a_png_cut_behind_its_last_row_decodes() -> None:
    data = encode(picture(), "PNG")
    tail = png_chunk(b"tEXt", b"Comment\x00" + b"x" * 50)
    end = png_chunk(b"IEND", b"")
    assert data.endswith(end)

    decoded = decode(data[: -len(end)] + tail[:30], SIZE, CONFIG)

    np.testing.assert_array_equal(decoded.pixels, reference(data))


def test_flipped_png_pixels_are_corrupt() -> None:
    data = bytearray(encode(picture(), "PNG"))
    at = data.index(b"IDAT") + 20
    data[at : at + 4] = b"\xff\xff\xff\xff"

    assert verdict(bytes(data)).code is ImageErrorCode.CORRUPT


def bomb(width: int, height: int) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    body = png_chunk(b"IHDR", header) + png_chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + body + png_chunk(b"IEND", b"")


@pytest.mark.parametrize(("width", "height"), [(10_001, 10_000), (2**31 - 1, 2**31 - 1)])
def test_a_png_bomb_is_too_large_by_its_header(width: int, height: int) -> None:
    error = verdict(bomb(width, height))

    assert error.code is ImageErrorCode.TOO_LARGE
    assert f"{width} x {height}" in error.message


def test_a_webp_bomb_is_too_large_before_its_canvas_is_allocated() -> None:
    body = b"VP8X" + struct.pack("<I", 10) + bytes(4) + (16382).to_bytes(3, "little") * 2
    data = b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body

    error = verdict(data)

    assert error.code is ImageErrorCode.TOO_LARGE
    assert "16383 x 16383" in error.message


def test_the_pixel_limit_is_inclusive_and_configurable() -> None:
    data = encode(picture(), "PNG")

    assert decode(data, SIZE, DecodeConfig(max_image_pixels=2400)).width == 60
    error = verdict(data, DecodeConfig(max_image_pixels=2399))
    assert error.code is ImageErrorCode.TOO_LARGE


def test_the_byte_limit_is_inclusive_and_comes_first() -> None:
    data = encode(picture(), "PNG")

    assert decode(data, SIZE, DecodeConfig(max_image_bytes=len(data))).width == 60
    assert verdict(b"text" * 10, DecodeConfig(max_image_bytes=39)).code is ImageErrorCode.TOO_LARGE


def test_png_text_that_unpacks_to_megabytes_is_too_large() -> None:
    data = encode(picture(), "PNG")
    text = png_chunk(b"zTXt", b"Comment\x00\x00" + zlib.compress(bytes(2**21)))
    after_header = 8 + 25

    error = verdict(data[:after_header] + text + data[after_header:])

    assert error.code is ImageErrorCode.TOO_LARGE


def test_pillows_pixel_limit_stays_as_the_process_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)

    assert decode(encode(picture(), "PNG"), SIZE, CONFIG).width == 60
    assert Image.MAX_IMAGE_PIXELS == 100


damage = st.lists(
    st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=12
)


@pytest.mark.parametrize("name", ["jpeg baseline", "jpeg progressive", "png palette", "png alpha"])
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(damage=damage, kept=st.floats(0.02, 1), orientation=st.sampled_from(["ignore", "apply"]))
def test_damaged_files_raise_nothing_but_image_errors(
    name: str, damage: list[tuple[float, int]], kept: float, orientation: str
) -> None:
    data = bytearray(DAMAGED[name])
    for place, value in damage:
        data[int(place * len(data))] = value
    config = DecodeConfig(orientation=orientation, max_image_pixels=10**6)  # type: ignore[arg-type]
    with contextlib.suppress(ImageError):
        decoded = decode(bytes(data[: int(len(data) * kept)]), SIZE, config)
        assert decoded.pixels.shape == (SIZE, SIZE, 3)


DAMAGED = {
    name: ENCODINGS[name]()
    for name in ("jpeg baseline", "jpeg progressive", "png palette", "png alpha")
}

"""Files that lack nothing of their pixels decode; those that lack one bit do not."""

import io
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ram_ray.config import DecodeConfig
from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.images.decode_bytes import decode
from ram_ray.images.decoder import Decoder
from ram_ray.images.remarks import Remark, from_bits, to_bits
from ram_ray.images.repairs import with_end_marker

SIZE = 32
CONFIG = DecodeConfig()


def picture(kind: str, mode: str = "RGB") -> Image.Image:
    if kind == "flat":
        return Image.new(mode, (61, 43))
    noise = np.random.default_rng(0).integers(0, 256, (43, 61, 3), np.uint8)
    y, x = np.mgrid[0:43, 0:61]
    smooth = np.stack([x * 4, y * 5, (x + y) * 2], axis=-1).astype(np.uint8)
    return Image.fromarray(noise if kind == "noise" else smooth).convert(mode)


def jpeg(kind: str = "smooth", mode: str = "RGB", **options: Any) -> bytes:
    file = io.BytesIO()
    picture(kind, mode).save(file, "JPEG", **options)
    return file.getvalue()


def code_of(data: bytes) -> ImageErrorCode | None:
    try:
        decode(data, SIZE, CONFIG)
    except ImageError as error:
        return error.code
    return None


BASELINE: dict[str, dict[str, Any]] = {
    "smooth": {},
    "no subsampling": {"subsampling": 0, "quality": 95},
    "noise": {"kind": "noise"},
    "grey": {"mode": "L"},
    "four inks": {"mode": "CMYK"},
    "restart intervals": {"restart_marker_blocks": 3},
    "own Huffman tables": {"optimize": True},
    "one colour": {"kind": "flat"},
    "one colour, own tables": {"kind": "flat", "optimize": True},
}


@pytest.mark.parametrize("name", BASELINE)
@pytest.mark.parametrize("missing", [1, 2])
def test_a_baseline_jpeg_without_its_end_marker_is_whole(name: str, missing: int) -> None:
    data = jpeg(**BASELINE[name])

    decoded = decode(data[:-missing], SIZE, CONFIG)

    np.testing.assert_array_equal(decoded.pixels, decode(data, SIZE, CONFIG).pixels)
    assert decoded.remarks == (Remark.NO_END_MARKER,)
    assert decode(data, SIZE, CONFIG).remarks == ()


@pytest.mark.parametrize("name", BASELINE)
def test_a_baseline_jpeg_cut_in_its_pixels_is_truncated(name: str) -> None:
    data = jpeg(**BASELINE[name])
    scan = data.index(b"\xff\xda") + 14
    chance = random.Random(0)
    cuts = {
        len(data) - 3,
        len(data) - 4,
        *(chance.randrange(scan, len(data) - 2) for _ in range(20)),
    }
    for cut in sorted(cuts):
        assert code_of(data[:cut]) is ImageErrorCode.TRUNCATED, len(data) - cut


@pytest.mark.parametrize("cut", range(1, 13))
def test_a_jpeg_whose_code_table_is_cut_short_is_not_repaired(cut: int) -> None:
    """Its segment has fewer symbols than its counts say (T.81, B.2.4.2): down to none."""
    out = io.BytesIO()
    Image.new("L", (8, 8), 90).save(out, "JPEG")
    whole = out.getvalue()
    at = whole.index(b"\xff\xc4")
    end = at + 2 + int.from_bytes(whole[at + 2 : at + 4], "big")
    length = (end - cut - at - 2).to_bytes(2, "big")
    broken = whole[: at + 2] + length + whole[at + 4 : end - cut] + whole[end:-2]
    assert with_end_marker(whole[:-2]) is not None
    assert with_end_marker(broken) is None


def test_a_progressive_jpeg_is_truncated_wherever_it_is_cut() -> None:
    data = jpeg(progressive=True)
    chance = random.Random(0)
    for cut in (len(data) - 2, *(chance.randrange(700, len(data) - 2) for _ in range(20))):
        assert code_of(data[:cut]) is ImageErrorCode.TRUNCATED, len(data) - cut


@pytest.mark.parametrize("kept", [0.5, 0.9, 1])
def test_zeros_behind_a_cut_are_not_taken_for_pixels(kept: float) -> None:
    """As a download leaves them that was allocated and never finished."""
    data = jpeg()[:-2]
    assert with_end_marker(data) == data + b"\xff\xd9"
    assert with_end_marker(data[: int(len(data) * kept)] + bytes(4096)) is None


def chunk(kind: bytes, body: bytes, *, wrong: bool) -> bytes:
    checksum = zlib.crc32(kind + body) ^ wrong
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", checksum)


def png(extra: bytes, *, last: bool) -> bytes:
    """A palette PNG with `extra` behind its header, or before its end."""
    file = io.BytesIO()
    picture("smooth").convert("P").save(file, "PNG")
    data = file.getvalue()
    at = len(data) - 12 if last else 33
    return data[:at] + extra + data[at:]


@pytest.mark.parametrize("last", [False, True])
@pytest.mark.parametrize("kind", [b"tEXt", b"pHYs", b"eXIf", b"zTXt"])
def test_a_png_with_a_wrong_checksum_beside_its_pixels_decodes(kind: bytes, last: bool) -> None:
    bad = png(chunk(kind, b"Software\x00own", wrong=True), last=last)

    decoded = decode(bad, SIZE, CONFIG)

    np.testing.assert_array_equal(decoded.pixels, decode(png(b"", last=False), SIZE, CONFIG).pixels)
    assert decoded.remarks == (Remark.BAD_CHECKSUM,)


@pytest.mark.parametrize("kind", [b"IHDR", b"PLTE", b"tRNS"])
def test_a_png_with_a_wrong_checksum_in_its_pixels_is_corrupt(kind: bytes) -> None:
    text = chunk(b"tEXt", b"Software\x00own", wrong=True)
    file = io.BytesIO()
    picture("smooth").convert("P").save(file, "PNG", transparency=3)
    data = bytearray(file.getvalue()[:33] + text + file.getvalue()[33:])
    at = data.index(kind)
    data[at + 4 + int.from_bytes(data[at - 4 : at], "big")] ^= 1

    assert code_of(bytes(data)) is ImageErrorCode.CORRUPT


def test_remarks_reach_the_parent() -> None:
    for bits in range(1 << len(Remark)):
        assert to_bits(from_bits(bits)) == bits
    wide = io.BytesIO()
    Image.fromarray(np.full((4, 4), 300, np.uint16)).save(wide, "PNG")
    with Decoder(SIZE, CONFIG) as decoder:
        assert decoder.decode(jpeg()[:-2]).remarks == (Remark.NO_END_MARKER,)
        assert decoder.decode(wide.getvalue()).remarks == (Remark.WIDE_GREY_CLIPPED,)
        assert decoder.decode(jpeg()).remarks == ()

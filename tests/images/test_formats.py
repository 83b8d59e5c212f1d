"""Recognising formats by their first bytes."""

import pytest

from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.images.formats import identify, is_cut, webp_size


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\xff\xd8\xff\xe0", "JPEG"),
        (b"\x89PNG\r\n\x1a\n", "PNG"),
        (b"GIF87a", "GIF"),
        (b"GIF89a", "GIF"),
        (b"BM", "BMP"),
        (b"\x28\x00\x00\x00", "DIB"),
        (b"II*\x00", "TIFF"),
        (b"MM\x00*", "TIFF"),
        (b"II+\x00", "TIFF"),
        (b"RIFF\x10\x00\x00\x00WEBPVP8 ", "WEBP"),
        (b"\x00\x00\x00\x1cftypavif\x00\x00\x00\x00", "AVIF"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1avif", "AVIF"),
    ],
)
def test_accepted_formats_are_named(head: bytes, name: str) -> None:
    assert identify(head) == name


@pytest.mark.parametrize(
    ("head", "name"),
    [
        (b"\x00\x00\x00\x18ftypheic\x00\x00\x00\x00mif1heic", "HEIC/HEIF"),
        (b"\x00\x00\x00\x18ftypmif1\x00\x00\x00\x00mif1heic", "HEIC/HEIF"),
        (b"\x00\x00\x00\x18ftypcrx \x00\x00\x00\x01crx isom", "CR3"),
        (b"\xff\x0a\x00", "JPEG XL"),
        (b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
        (b"8BPS\x00\x01", "PSD"),
        (b"\x00\x00\x01\x00\x01\x00", "ICO"),
        (b"P6\n2 2\n255\n", "PPM"),
        (b"\xef\xbb\xbf <?xml version='1.0'?>\n<svg xmlns=''>", "SVG"),
        (bytes(128) + b"DICM", "DICOM"),
    ],
)
def test_other_image_formats_are_unsupported_and_named(head: bytes, name: str) -> None:
    with pytest.raises(ImageError) as raised:
        identify(head)
    assert raised.value.code is ImageErrorCode.UNSUPPORTED_FORMAT
    assert name in raised.value.message


@pytest.mark.parametrize(
    "head",
    [
        b"%PDF-1.7",
        b"<html><body>not found</body></html>",
        b"PK\x03\x04",
        b"\x00\x00\x00\x18ftypisom\x00\x00\x02\x00isommp42",
        b"RIFF\x10\x00\x00\x00WAVEfmt ",
        b"\xff\xd8",
        b"x",
    ],
)
def test_everything_else_is_not_an_image(head: bytes) -> None:
    with pytest.raises(ImageError) as raised:
        identify(head)
    assert raised.value.code is ImageErrorCode.NOT_AN_IMAGE


@pytest.mark.parametrize(
    ("chunk", "size"),
    [
        (b"VP8X" + bytes(4) + bytes(4) + b"\x0f\x00\x00\x1f\x01\x00", (16, 288)),
        (b"VP8L" + bytes(4) + b"\x2f" + (15 | 287 << 14).to_bytes(4, "little"), (16, 288)),
        (b"VP8 " + bytes(4) + bytes(3) + b"\x9d\x01\x2a" + b"\x10\x00\x20\x41", (16, 288)),
        (b"VP8X" + bytes(4) + bytes(4), None),
        (b"ALPH" + bytes(20), None),
    ],
)
def test_webp_size_is_read_from_each_kind_of_first_chunk(
    chunk: bytes, size: tuple[int, int] | None
) -> None:
    assert webp_size(b"RIFF\x00\x00\x00\x00WEBP" + chunk) == size


@pytest.mark.parametrize(
    ("data", "format_name", "cut"),
    [
        (b"RIFF\x08\x00\x00\x00WEBPVP8 ", "WEBP", False),
        (b"RIFF\x09\x00\x00\x00WEBPVP8 ", "WEBP", True),
        (b"II*\x00\x08\x00\x00\x00\x01\x00", "TIFF", False),
        (b"MM\x00*\x00\x00\x00\x09\x01\x00", "TIFF", True),
        (b"II+\x00\x08\x00\x00\x00" + (16).to_bytes(8, "little") + b"\x01\x00", "TIFF", False),
        (b"\x00\x00\x00\x08ftyp\x00\x00\x00\x0amdatxx", "AVIF", False),
        (b"\x00\x00\x00\x08ftyp\x00\x00\x00\x0bmdatxx", "AVIF", True),
        (b"\x00\x00\x00\x08ftyp\x00\x00\x00\x00mdatxx", "AVIF", False),
        (b"\x00\x00\x00\x08ftyp\x00\x00\x00\x01mdat" + (99).to_bytes(8, "big"), "AVIF", True),
        (b"\x89PNG", "PNG", False),
    ],
)
def test_a_container_shorter_than_it_says_is_cut(data: bytes, format_name: str, cut: bool) -> None:
    assert is_cut(data, format_name) is cut

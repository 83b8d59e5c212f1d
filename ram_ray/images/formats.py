"""Which image format bytes claim to be, by their first bytes; nothing is parsed or allocated."""

from collections.abc import Collection

from ram_ray.errors import ImageError, ImageErrorCode

ACCEPTED = ("JPEG", "PNG", "WEBP", "GIF", "BMP", "DIB", "TIFF", "AVIF")


EXTRA = {"heic": "HEIC/HEIF", "jxl": "JPEG XL"}
"""Names of the formats that `DecodeConfig.formats` adds."""


def identify(data: bytes, formats: Collection[str] = ()) -> str:
    """Return the name in ACCEPTED that `data` starts like, or in EXTRA if it is asked for.

    Raises ImageError: unsupported_format for other known image formats, not_an_image otherwise.
    """
    asked = [EXTRA[one] for one in formats]
    head = bytes(data[:1024])
    if head[4:8] == b"ftyp":
        return _identify_by_brands(head, asked)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return "WEBP"
    for magic, name in _ACCEPTED_MAGIC:
        if head.startswith(magic):
            return name
    for offset, magic, name in _OTHER_MAGIC:
        if head[offset : offset + len(magic)] == magic:
            if name in asked:
                return name
            raise _unsupported(name)
    if _is_svg(head):
        raise _unsupported("SVG")
    raise ImageError(
        ImageErrorCode.NOT_AN_IMAGE, "The file starts like no image format that is known here."
    )


def webp_size(data: bytes) -> tuple[int, int] | None:
    """Width and height in px from a WebP file's first chunk (RFC 9649, section 2); None: not there.

    Pillow's WebP decoder allocates its canvas when it opens a file, so limits come before that.
    """
    chunk, body = data[12:16], data[20:30]
    if chunk == b"VP8X" and len(body) == 10:
        return _little_endian(body[4:7]) + 1, _little_endian(body[7:10]) + 1
    if chunk == b"VP8L" and len(body) >= 5 and body[0] == 0x2F:
        bits = _little_endian(body[1:5])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if chunk == b"VP8 " and len(body) == 10 and body[3:6] == b"\x9d\x01\x2a":
        return _little_endian(body[6:8]) & 0x3FFF, _little_endian(body[8:10]) & 0x3FFF
    return None


def is_cut(data: bytes, format_name: str) -> bool:
    """Say whether a WEBP, TIFF, AVIF or HEIC container declares more bytes than there are."""
    if format_name == "WEBP":
        return 8 + _little_endian(data[4:8]) > len(data)
    if format_name == "TIFF":  # the directory, often at the end, is where the header says
        order = "little" if data[:1] == b"I" else "big"
        is_big_tiff = b"+" in data[2:4]
        return int.from_bytes(data[8:16] if is_big_tiff else data[4:8], order) + 2 > len(data)
    if format_name in ("AVIF", "HEIC/HEIF"):
        at = 0
        while at + 8 <= len(data):
            size = int.from_bytes(data[at : at + 4], "big")
            if size == 0:  # this box goes to the end of the file
                return False
            if size == 1:  # 64-bit size behind the type
                size = int.from_bytes(data[at + 8 : at + 16], "big")
            at += max(size, 8)
        return at != len(data)
    return False


def _identify_by_brands(head: bytes, asked: Collection[str]) -> str:
    """Tell AVIF from its relatives: all share the ISO container and differ in the brands."""
    brands = [head[8:12]]
    box_end = min(int.from_bytes(head[:4], "big"), len(head))
    brands += [head[at : at + 4] for at in range(16, box_end - 3, 4)]
    if b"avif" in brands or b"avis" in brands:
        return "AVIF"
    if any(brand in _HEIF_BRANDS for brand in brands):
        if "HEIC/HEIF" in asked:
            return "HEIC/HEIF"
        raise _unsupported("HEIC/HEIF")
    if brands[0] == b"crx ":
        raise _unsupported("Canon raw (CR3)")
    raise ImageError(
        ImageErrorCode.NOT_AN_IMAGE, "The file is an ISO media container without a still image."
    )


def _is_svg(head: bytes) -> bool:
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    return text.startswith(b"<") and b"<svg" in text


def _unsupported(name: str) -> ImageError:
    return ImageError(
        ImageErrorCode.UNSUPPORTED_FORMAT,
        f"The file is {name}, which is not read here; "
        + (
            "ask for it with --formats (docs/decoding.md)."
            if name in EXTRA.values()
            else "convert it to JPEG, PNG or WebP."
        ),
    )


def _little_endian(data: bytes) -> int:
    return int.from_bytes(data, "little")


# The magic numbers that Pillow 13's own plugins accept for these formats.
_ACCEPTED_MAGIC = (
    (b"\xff\xd8\xff", "JPEG"),
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"GIF87a", "GIF"),
    (b"GIF89a", "GIF"),
    (b"BM", "BMP"),
    (b"II*\x00", "TIFF"),
    (b"MM\x00*", "TIFF"),
    (b"MM*\x00", "TIFF"),  # wrong byte order, seen in the wild
    (b"II\x00*", "TIFF"),
    (b"MM\x00+", "TIFF"),  # BigTIFF
    (b"II+\x00", "TIFF"),
    # A BMP without its file header starts with the size of its info header.
    *((size.to_bytes(4, "little"), "DIB") for size in (12, 40, 52, 56, 64, 108, 124)),
)

# (offset, magic, name) of image formats that are recognised only to name them in the verdict.
_OTHER_MAGIC = (
    (0, b"\x00\x00\x00\x0cJXL \r\n\x87\n", "JPEG XL"),
    (0, b"\xff\x0a", "JPEG XL"),
    (0, b"\x00\x00\x00\x0cjP  \r\n\x87\n", "JPEG 2000"),
    (0, b"\xff\x4f\xff\x51", "JPEG 2000"),
    (0, b"II\xbc", "JPEG XR"),
    (0, b"8BPS", "Photoshop (PSD)"),
    (0, b"\x00\x00\x01\x00", "an icon (ICO)"),
    (0, b"icns", "an icon (ICNS)"),
    (0, b"DDS ", "DDS"),
    (0, b"\x76\x2f\x31\x01", "OpenEXR"),
    (0, b"#?RADIANCE", "Radiance HDR"),
    (0, b"#?RGBE", "Radiance HDR"),
    (0, b"qoif", "QOI"),
    (0, b"gimp xcf", "GIMP (XCF)"),
    (0, b"FLIF", "FLIF"),
    (0, b"BPG\xfb", "BPG"),
    (0, b"SIMPLE  =", "FITS"),
    (0, b"FUJIFILMCCD-RAW", "Fujifilm raw (RAF)"),
    (0, b"IIU\x00", "Panasonic raw (RW2)"),
    (0, b"IIRO", "Olympus raw (ORF)"),
    (0, b"\x59\xa6\x6a\x95", "Sun raster"),
    (0, b"/* XPM */", "XPM"),
    (0, b"AT&TFORM", "DjVu"),
    (128, b"DICM", "DICOM"),
    *(
        (0, b"P%c%c" % (kind, space), "a Netpbm (PPM)")
        for kind in b"1234567"
        for space in b" \t\r\n"
    ),
    *((0, b"P%c\n" % kind, "a float map (PFM)") for kind in b"Ff"),
)

# ISO/IEC 23008-12, annex B and D: HEVC still images, sequences, and the codec-neutral brands.
_HEIF_BRANDS = frozenset(
    (b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs", b"mif1", b"msf1")
)

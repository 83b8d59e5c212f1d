"""Image bytes -> resized RGB pixels, in this process.

Nothing here survives a crash or a hang in a C decoder: `ram_ray.images.decoder.Decoder` runs
`decode` in a child process for that. Pillow is asked exactly as the reference preprocessing
asks it.
"""

import dataclasses
import io
import math
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import (
    AvifImagePlugin,
    BmpImagePlugin,
    GifImagePlugin,
    Image,
    JpegImagePlugin,
    MpoImagePlugin,  # noqa: F401  jpeg_factory imports it at the first MPO: not under a memory limit
    PngImagePlugin,
    TiffImagePlugin,
    WebPImagePlugin,
)

from ram_model.training.augmentation import ViewRequest, training_view
from ram_model.transforms import resize_for_inference, to_rgb
from ram_ray.config import DecodeConfig
from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.images.extra_formats import load_plugin
from ram_ray.images.formats import identify, is_cut, webp_size
from ram_ray.images.grey import narrow_grey
from ram_ray.images.jxl_header import jxl_size, jxl_turned
from ram_ray.images.remarks import Remark
from ram_ray.images.repairs import has_bad_chunk, with_end_marker, without_bad_chunks


@dataclass(frozen=True, slots=True)
class DecodedImage:
    """One image, ready for the model."""

    pixels: np.ndarray
    """uint8 [S, S, 3], RGB, 0..255, resized as the reference does."""
    width: int
    """Pixels, as stored in the file, before orientation."""
    height: int
    """Pixels, as stored in the file, before orientation."""
    crop: tuple[float, float, float, float] = (0.0, 0.0, 1.0, 1.0)
    """What of the image the pixels show: left, top, width, height, as shares of it."""
    mirrored: bool = False
    remarks: tuple[Remark, ...] = ()
    """What was repaired in the file, or lost of it."""


class MemoryLimitError(ImageError):
    """`too_large`, because memory ran out: unlike a pixel count, it may depend on the process."""

    def __init__(self) -> None:
        super().__init__(
            ImageErrorCode.TOO_LARGE, "Decoding needs more memory than decode_memory_bytes allows."
        )


def decode(
    data: bytes, image_size_px: int, config: DecodeConfig, view: ViewRequest | None = None
) -> DecodedImage:
    """Decode `data` and resize it to uint8 [image_size_px, image_size_px, 3].

    `view` asks for a random view of it, as training does. Limits of bytes and pixels hold here;
    those of time and memory only in a `Decoder`. Not for several threads at once: Python's warning
    filters, which it sets, belong to the process.
    Raises ImageError.
    """
    check_num_bytes(len(data), config)
    file = _File(data, identify(data, config.formats), config)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's remarks about metadata change no verdict
        image, (width, height), repaired = _read(file)
        try:
            if config.orientation == "apply":
                image = _upright(image, file)
            image, lost = narrow_grey(image, config.wide_grey)
            rgb = to_rgb(image)
        except ImageError:
            raise
        except Exception as error:  # noqa: BLE001  odd modes and palettes are the file's doing too
            raise _verdict(file, error, width * height) from None
    remarks = repaired + lost
    try:
        if view is not None:
            seen = training_view(rgb, image_size_px, view)
            return DecodedImage(seen.pixels, width, height, seen.crop, seen.mirrored, remarks)
        pixels = resize_for_inference(rgb, image_size_px)
        return DecodedImage(pixels, width, height, remarks=remarks)
    except MemoryError:
        raise MemoryLimitError from None


def check_num_bytes(num_bytes: int, config: DecodeConfig) -> None:
    """Raise ImageError `empty` or `too_large` for a file of this size."""
    if num_bytes == 0:
        raise ImageError(ImageErrorCode.EMPTY, "The file has zero bytes.")
    if num_bytes > config.max_image_bytes:
        raise ImageError(
            ImageErrorCode.TOO_LARGE,
            f"The file has {num_bytes} bytes, "
            f"more than max_image_bytes ({config.max_image_bytes}).",
        )


@dataclass(frozen=True, slots=True)
class _File:
    data: bytes
    format_name: str
    config: DecodeConfig


def _read(file: _File) -> tuple[Image.Image, tuple[int, int], tuple[Remark, ...]]:
    """Return the first frame, its stored size, and what had to be repaired for it."""
    try:
        read = _open_and_load(file)
        # Pillow reads on over such a chunk where it lies behind the pixels.
        passed_over = file.format_name == "PNG" and has_bad_chunk(file.data)
        return *read, (Remark.BAD_CHECKSUM,) * passed_over
    except MemoryLimitError:
        raise
    except ImageError as error:
        try:
            repaired = _repaired(file, error.code)
        except MemoryError:
            raise MemoryLimitError from None
        if repaired is None:
            raise
    data, remark = repaired
    return *_open_and_load(dataclasses.replace(file, data=data)), (remark,)


def _repaired(file: _File, code: ImageErrorCode) -> tuple[bytes, Remark] | None:
    """Return the file made whole, where it lacks nothing of its pixels, and how."""
    data, remark = None, Remark.BAD_CHECKSUM
    if file.format_name == "PNG" and code in (ImageErrorCode.CORRUPT, ImageErrorCode.TRUNCATED):
        data = without_bad_chunks(file.data)
    elif file.format_name == "JPEG" and code is ImageErrorCode.TRUNCATED:
        data, remark = with_end_marker(file.data), Remark.NO_END_MARKER
    return None if data is None else (data, remark)


def _open_and_load(file: _File) -> tuple[Image.Image, tuple[int, int]]:
    image = _open(file)
    size = _stored_size(image)
    return _load(file, image), size


def _open(file: _File) -> Image.Image:
    """Parse the header and check the pixel count; the pixels stay undecoded."""
    size = None
    if file.format_name in _SIZE_FIRST:
        size = _SIZE_FIRST[file.format_name](file.data)
        if size:
            _check_num_pixels(*size, file.config)
    stream = io.BytesIO(file.data)
    try:
        # The plugin itself and not Image.open, which hides the plugin's reason for a refusal and
        # has a pixel limit of its own, a global that belongs to whoever imported Pillow first.
        image = _plugin(file.format_name)(stream, "")
    except Exception as error:  # noqa: BLE001  hostile bytes make the plugins raise anything
        ran_out = file.format_name in _READ_IN_ORDER and stream.tell() >= len(file.data)
        num_pixels = math.prod(size) if size else 0
        raise _verdict(file, error, num_pixels, ran_out=ran_out) from None
    _check_num_pixels(*image.size, file.config)
    return image


def _plugin(format_name: str) -> Callable[[io.BytesIO, str], Image.Image]:
    return _PLUGINS.get(format_name) or load_plugin(format_name)


def _check_num_pixels(width: int, height: int, config: DecodeConfig) -> None:
    if width < 1 or height < 1:
        raise ImageError(ImageErrorCode.CORRUPT, f"The header says {width} x {height} pixels.")
    if width * height > config.max_image_pixels:
        raise ImageError(
            ImageErrorCode.TOO_LARGE,
            f"The image has {width} x {height} pixels, "
            f"more than max_image_pixels ({config.max_image_pixels}).",
        )


def _stored_size(image: Image.Image) -> tuple[int, int]:
    """Size as the file has it; Pillow alone turns TIFFs upright and swaps their size on opening."""
    if isinstance(image, TiffImagePlugin.TiffImageFile):
        return int(image.tag_v2[_TIFF_WIDTH]), int(image.tag_v2[_TIFF_HEIGHT])
    return image.size


def _load(file: _File, image: Image.Image) -> Image.Image:
    """Decode the pixels of the first frame."""
    try:
        image.load()
        return image
    except Exception as error:  # noqa: BLE001  hostile bytes make the decoders raise anything
        verdict = _verdict(file, error, math.prod(image.size))
        cut_behind_pixels = file.format_name == "PNG" and str(error) == "Truncated File Read"
    if cut_behind_pixels and not file.data.endswith(_PNG_END):
        # Pillow stops at a PNG that is cut in a chunk behind its pixels. Without that chunk it
        # decodes if all pixels are there, and is truncated if not.
        whole_file = dataclasses.replace(file, data=_without_cut_chunk(file.data))
        return _load(whole_file, _open(whole_file))
    raise verdict


def _upright(image: Image.Image, file: _File) -> Image.Image:
    """Turn by the EXIF orientation; with broken EXIF the image stays as stored."""
    if file.format_name == "HEIC/HEIF":
        return image  # libheif has turned it by the container's boxes, which alone count
    if file.format_name == "JPEG XL" and not getattr(image, "jpeg", False):
        if jxl_turned(file.data):  # by libjxl; a JPEG in it comes out as it was
            return image
    try:
        orientation = image.getexif().get(_EXIF_ORIENTATION)
        method = _UPRIGHT.get(orientation) if isinstance(orientation, int) else None
    except Exception:  # noqa: BLE001  metadata must not cost the image; any parser error can come
        return image
    return image if method is None else image.transpose(method)


def _without_cut_chunk(png: bytes) -> bytes:
    """Keep the complete chunks of a PNG (length, type, data, CRC each) and end it properly."""
    at = len(b"\x89PNG\r\n\x1a\n")
    while (end := at + 12 + int.from_bytes(png[at : at + 4], "big")) <= len(png):
        at = end
    return png[:at] + _PNG_END


def _verdict(
    file: _File, error: Exception, num_pixels: int, *, ran_out: bool = False
) -> ImageError:
    """Translate what Pillow raised; `ran_out`: it had read to the end of the file and wanted more.

    Pillow has no exception types for this, so its words decide.
    """
    text = str(error).lower()
    cut = ran_out or is_cut(file.data, file.format_name)
    if isinstance(error, MemoryError) or "out of memory" in text:
        return MemoryLimitError()
    if any(words in text for words in _TOO_LARGE_WORDS):
        code, reason = ImageErrorCode.TOO_LARGE, "holds more than the decoder's limits allow"
    elif any(words in text for words in _UNSUPPORTED_WORDS):
        code, reason = ImageErrorCode.UNSUPPORTED_FORMAT, "is of a variant that is not read here"
    elif cut or any(words in text for words in _TRUNCATED_WORDS):
        code, reason = ImageErrorCode.TRUNCATED, "ends too early"
    elif num_pixels * _MOST_BYTES_PER_PIXEL > file.config.decode_memory_bytes:
        return MemoryLimitError()  # libwebp and libjpeg call a failed allocation damage
    else:
        code, reason = ImageErrorCode.CORRUPT, "is damaged"
    detail = re.sub(r"<[^>]*>", "", " ".join(str(error).split())).strip(" .")
    detail = detail.encode("ascii", "replace").decode()[:100] or type(error).__name__
    return ImageError(code, f"The {file.format_name} file {reason} ({detail}).")


_PLUGINS: dict[str, Callable[[io.BytesIO, str], Image.Image]] = {
    "JPEG": JpegImagePlugin.jpeg_factory,  # also MPO: its first picture
    "PNG": PngImagePlugin.PngImageFile,
    "WEBP": WebPImagePlugin.WebPImageFile,
    "GIF": GifImagePlugin.GifImageFile,
    "BMP": BmpImagePlugin.BmpImageFile,
    "DIB": BmpImagePlugin.DibImageFile,
    "TIFF": TiffImagePlugin.TiffImageFile,
    "AVIF": AvifImagePlugin.AvifImageFile,
}

# Of formats whose plugins allocate or decode pixels when they open a file.
_SIZE_FIRST = {"WEBP": webp_size, "JPEG XL": jxl_size}

# Formats whose headers are read front to back, so that the end of the file tells a cut one.
_READ_IN_ORDER = ("JPEG", "PNG", "GIF", "BMP", "DIB")

# Lower-case parts of Pillow 13's messages.
_TOO_LARGE_WORDS = (
    "decompressed data too large",  # PNG text and profile chunks above 1 MiB unpacked
    "too much memory used in text chunks",  # PNG text chunks above 64 MiB in all
    "exceeds limit of",  # Pillow's own pixel limit, where max_image_pixels is above it
)
_UNSUPPORTED_WORDS = (
    "unsupported",
    "not supported",
    "unknown pixel mode",
    "unknown data organization",
    "unknown raw mode",
    "cannot handle",  # JPEG with 12 bits or odd layer counts
    "not available",
)
_TRUNCATED_WORDS = ("truncated", "unexpected end")

# What libwebp takes in all: file, canvas, previous canvas, copy for Python, Pillow's image.
_MOST_BYTES_PER_PIXEL = 20

_PNG_END = b"\x00\x00\x00\x00IEND\xaeB`\x82"

# TIFF 6.0, ImageWidth and ImageLength; Exif 2.32, Orientation: value -> turn that undoes it.
_TIFF_WIDTH, _TIFF_HEIGHT, _EXIF_ORIENTATION = 256, 257, 274
_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

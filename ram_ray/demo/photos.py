"""The demo's bucket: photos that ship inside scikit-image and scikit-learn, variants of them,
and a few broken files.

Nothing is downloaded; the files are read from the installed packages.
"""

import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from PIL import Image, ImageOps

from ram_ray.errors import ConfigError

INSTALL_ADVICE = 'The demo needs a few more packages: pip install "ram-ray[demo]".'

Box = tuple[float, float, float, float]
"""Left, top, right, bottom as shares of width and height."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Photo:
    """A photo inside an installed package, with the credit its authors ask for."""

    name: str
    package: str
    path: str
    title: str
    credit: str
    licence: str
    crops: tuple[Box, ...] = ()
    """Parts of the picture that show something by themselves."""


# Credits and licences: docstrings of skimage/data/_fetchers.py (scikit-image 0.26) and
# sklearn/datasets/images/README.txt (scikit-learn 1.9). Files whose licence is not stated there
# (moon, motorcycle, page) are left out.
_SKIMAGE, _SKLEARN = "skimage", "sklearn"
PHOTOS = (
    Photo(
        name="astronaut",
        package=_SKIMAGE,
        path="data/astronaut.png",
        title="Eileen Collins",
        credit="NASA Great Images",
        licence="public domain",
        crops=((0.2, 0.0, 0.7, 0.5), (0.62, 0.0, 1.0, 0.5), (0.6, 0.55, 1.0, 1.0)),
    ),
    Photo(
        name="chelsea",
        package=_SKIMAGE,
        path="data/chelsea.png",
        title="Chelsea the cat",
        credit="Stefan van der Walt",
        licence="CC0",
        crops=((0.2, 0.0, 0.9, 0.8), (0.0, 0.0, 0.6, 1.0)),
    ),
    Photo(
        name="coffee",
        package=_SKIMAGE,
        path="data/coffee.png",
        title="Cup of coffee",
        credit="Rachel Michetti, Pikolo Espresso Bar",
        licence="CC0",
        crops=((0.25, 0.0, 0.75, 0.6), (0.4, 0.4, 0.8, 1.0)),
    ),
    Photo(
        name="camera",
        package=_SKIMAGE,
        path="data/camera.png",
        title="Photographer with a camera",
        credit="Lav Varshney",
        licence="CC0",
        crops=((0.2, 0.0, 0.75, 0.6), (0.0, 0.1, 0.7, 1.0)),
    ),
    Photo(
        name="rocket",
        package=_SKIMAGE,
        path="data/rocket.jpg",
        title="Falcon 9 before its launch",
        credit="SpaceX",
        licence="public domain",
        crops=((0.35, 0.15, 0.7, 1.0),),
    ),
    Photo(
        name="hubble",
        package=_SKIMAGE,
        path="data/hubble_deep_field.jpg",
        title="Hubble eXtreme Deep Field",
        credit="NASA, HubbleSite",
        licence="public domain",
        crops=((0.0, 0.0, 0.5, 0.5),),
    ),
    Photo(
        name="retina",
        package=_SKIMAGE,
        path="data/retina.jpg",
        title="Fundus of a left eye",
        credit="Mikael Haggstrom",
        licence="CC0",
    ),
    Photo(
        name="coins",
        package=_SKIMAGE,
        path="data/coins.png",
        title="Greek coins from Pompeii",
        credit="Brooklyn Museum",
        licence="no known copyright restrictions",
        crops=((0.0, 0.0, 0.5, 0.5),),
    ),
    Photo(
        name="bricks",
        package=_SKIMAGE,
        path="data/brick.png",
        title="Brick wall",
        credit="CC0Textures, Bricks25",
        licence="CC0",
    ),
    Photo(
        name="grass",
        package=_SKIMAGE,
        path="data/grass.png",
        title="Grass",
        credit="linolafett, DeviantArt",
        licence="CC0",
    ),
    Photo(
        name="gravel",
        package=_SKIMAGE,
        path="data/gravel.png",
        title="Gravel",
        credit="CC0Textures, Gravel04",
        licence="CC0",
    ),
    Photo(
        name="pavilion",
        package=_SKLEARN,
        path="datasets/images/china.jpg",
        title="Pavilion by a lake, China",
        credit="danielbuechele, Flickr 6061409035",
        licence="CC BY 2.0",
        crops=((0.25, 0.0, 0.8, 1.0), (0.55, 0.1, 1.0, 0.9)),
    ),
    Photo(
        name="dahlia",
        package=_SKLEARN,
        path="datasets/images/flower.jpg",
        title="Dahlia",
        credit="vultilion, Flickr 6056698931",
        licence="CC BY 2.0",
        crops=((0.2, 0.1, 0.75, 0.85), (0.0, 0.3, 0.6, 1.0)),
    ),
)


def demo_bucket() -> Iterator[tuple[str, bytes]]:
    """Yield (key, bytes) of every object of the demo's bucket: good photos, then broken files.

    Raises:
        ConfigError: scikit-image or scikit-learn is not installed.
    """
    for photo in PHOTOS:
        yield from _variants(photo)
    yield from _broken_files()


def read_photo(photo: Photo) -> bytes:
    """Return the file of `photo` as its package ships it.

    Raises:
        ConfigError: the package is not installed, or does not hold this file.
    """
    spec = find_spec(photo.package)  # finds the folder without importing the package
    if spec is None or spec.origin is None:
        raise ConfigError(INSTALL_ADVICE)
    path = Path(spec.origin).parent / photo.path
    if not path.is_file():
        raise ConfigError(f"{path} is missing from {photo.package}. {INSTALL_ADVICE}")
    return path.read_bytes()


def _variants(photo: Photo) -> Iterator[tuple[str, bytes]]:
    """Yield the photo as shipped and in the formats and states a real bucket holds."""
    shipped = read_photo(photo)
    yield f"photos/{photo.name}{Path(photo.path).suffix}", shipped
    picture = Image.open(io.BytesIO(shipped)).convert("RGB")
    yield f"web/{photo.name}.webp", _encode(picture, "WEBP", quality=80)
    yield f"mirrored/{photo.name}.jpg", _encode(ImageOps.mirror(picture), "JPEG", quality=88)
    yield f"gray/{photo.name}.png", _encode(ImageOps.grayscale(picture), "PNG")
    for number, box in enumerate(photo.crops, start=1):
        part = _crop(picture, box)
        yield f"crops/{photo.name}-{number}.jpg", _encode(part, "JPEG", progressive=True)
    yield f"phone/{photo.name}.jpg", _turned_by_exif(picture)


def _crop(picture: Image.Image, box: Box) -> Image.Image:
    width, height = picture.size
    left, top, right, bottom = box
    return picture.crop(
        (round(left * width), round(top * height), round(right * width), round(bottom * height))
    )


def _turned_by_exif(picture: Image.Image) -> bytes:
    """A phone held upright: pixels lie on their side, EXIF orientation 6 says how to turn them."""
    exif = Image.Exif()
    exif[0x0112] = 6  # Orientation: turn 90 degrees clockwise to view
    sideways = picture.transpose(Image.Transpose.ROTATE_90)
    return _encode(sideways, "JPEG", quality=88, exif=exif)


def _encode(picture: Image.Image, file_format: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    picture.save(buffer, file_format, **options)
    return buffer.getvalue()


def _broken_files() -> Iterator[tuple[str, bytes]]:
    """Yield what goes wrong in real buckets; each ends in quarantine, with its reason."""
    whole = read_photo(next(photo for photo in PHOTOS if photo.name == "pavilion"))
    yield "broken/half-uploaded.jpg", whole[: len(whole) // 2]
    yield "broken/error-page.jpg", b"<html><body>503 Service Unavailable</body></html>\n"
    yield "broken/zero-bytes.jpg", b""
    yield "broken/bomb.png", _png_bomb()


def _png_bomb(side_px: int = 60_000) -> bytes:
    """A PNG of a few bytes whose header promises side_px x side_px pixels."""

    def chunk(kind: bytes, payload: bytes) -> bytes:
        checksum = struct.pack(">I", zlib.crc32(kind + payload))
        return struct.pack(">I", len(payload)) + kind + payload + checksum

    header = struct.pack(">IIBBBBB", side_px, side_px, 8, 2, 0, 0, 0)
    pixels = zlib.compress(b"\x00" * 1024)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )

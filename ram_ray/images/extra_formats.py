"""Formats that a run reads only where it asks for them, through packages that nobody gets unasked.

docs/decoding.md says what the packages contain and under which licences.
"""

import importlib
import importlib.metadata
import io
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from PIL import Image

from ram_ray.errors import ConfigError
from ram_ray.images.formats import EXTRA


@dataclass(frozen=True, slots=True)
class ExtraDecoder:
    """The package that reads a format."""

    package: str
    minimum: tuple[int, int, int]
    """Oldest version that is taken."""
    module: str


DECODERS = {
    # 1.8.1 carries libheif 1.23.6 and libde265 1.1.3.
    "heic": ExtraDecoder("pillow-heif", (1, 8, 1), "pillow_heif"),
    # 1.3.8 carries libjxl 0.12.0.
    "jxl": ExtraDecoder("pillow-jxl-plugin", (1, 3, 8), "pillow_jxl"),
}
"""By format. The versions are those that the tests ran with; older ones have known holes."""

MINIMUM_LIBHEIF = (1, 23, 6)
"""pillow-heif may be built with a libheif of the system: what it was built with counts."""


def decoder_versions(formats: Iterable[str]) -> dict[str, str]:
    """Return name and version of every package and library that reads these formats.

    Raises:
        ConfigError: one is missing, broken or too old on this machine.
    """
    versions: dict[str, str] = {}
    for name in formats:
        decoder = DECODERS[name]
        how = f"pip install 'ram-ray[{name}]' on every machine"
        try:
            found = importlib.metadata.version(decoder.package)
            module = importlib.import_module(decoder.module)
        except ImportError as error:
            raise ConfigError(
                f"formats asks for {name}, but {decoder.package} is not here ({error}); {how}."
            ) from error
        _require(decoder.package, found, decoder.minimum, how)
        versions[decoder.package] = found
        if name == "heic":
            info = module.libheif_info()
            _require("libheif", info["libheif"], MINIMUM_LIBHEIF, how)
            if not info["decoders"]:
                raise ConfigError(f"formats asks for heic, but libheif has no decoder here; {how}.")
            versions |= {"libheif": info["libheif"], "heic decoders": ", ".join(info["decoders"])}
    return versions


def load_plugin(format_name: str) -> Callable[[io.BytesIO, str], Image.Image]:
    """Return the Pillow plugin of a format in `EXTRA`, set to one thread, as the others are."""
    if format_name == EXTRA["heic"]:
        from pillow_heif import HeifImageFile, options

        options.DECODE_THREADS = 1
        # Only the picture itself is wanted; each of these would be parsed, too.
        options.THUMBNAILS = options.DEPTH_IMAGES = options.AUX_IMAGES = False
        options.DISABLE_SECURITY_LIMITS = False
        return HeifImageFile
    from pillow_jxl import JpegXLImagePlugin

    JpegXLImagePlugin.DECODE_THREADS = 0
    return JpegXLImagePlugin.JXLImageFile


def _require(what: str, found: str, minimum: tuple[int, int, int], how: str) -> None:
    numbers = tuple(int(part) for part in found.split(".")[:3] if part.isdigit())
    if numbers < minimum:
        oldest = ".".join(map(str, minimum))
        raise ConfigError(f"{what} is {found} here, but must be {oldest} or later; {how}.")

"""Small pictures for reports: decoded by the same limited child process as every pipeline's."""

import base64
import io

from PIL import Image

from ram_ray.config import StoreConfig
from ram_ray.errors import ImageError, RamRayError
from ram_ray.images import Decoder
from ram_ray.storage.stores import read_uri

THUMBNAIL_PX = 240  # the longer side
_QUALITY = 78  # JPEG; about 10 kB a picture


def thumbnail_data_uri(uri: str, store: StoreConfig, decoder: Decoder) -> str | None:
    """Return a JPEG of at most THUMBNAIL_PX as a data URI; None when it cannot be had any more.

    The picture lies as it is stored, like the model sees it unless `orientation` says otherwise.

    Args:
        decoder: its `image_size_px` is the resolution that the picture is shrunk from.
    """
    try:
        decoded = decoder.decode(read_uri(uri, store))
    except (FileNotFoundError, ImageError, RamRayError):
        return None  # tagged then, gone or out of reach now: the page says so in its place
    scale = THUMBNAIL_PX / max(decoded.width, decoded.height)
    size = (max(1, round(decoded.width * scale)), max(1, round(decoded.height * scale)))
    picture = Image.fromarray(decoded.pixels).resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

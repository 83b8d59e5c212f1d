"""Small pictures for reports: decoded by the same limited child process as every pipeline's."""

import base64
import io
from collections.abc import Sequence

from PIL import Image

from ram_ray.config import DecodeConfig, StoreConfig
from ram_ray.errors import ImageError, UnreachableError
from ram_ray.images.decoder import DecodedImage, Decoder
from ram_ray.storage.reading import read_uri

THUMBNAIL_PX = 240  # the longer side
_QUALITY = 78  # JPEG; about 10 kB a picture
_TRIES = 3  # one picture may be forbidden; the first three hardly, without a common reason


def thumbnails(uris: Sequence[str], store: StoreConfig) -> list[str | None]:
    """Return a JPEG of at most THUMBNAIL_PX per image as a data URI; None where it is gone.

    A picture lies as it is stored, like the model sees it unless `orientation` says otherwise.

    Raises:
        UnreachableError: the first pictures cannot be reached: a wrong endpoint or credentials
            would only make a page without pictures, slowly.
    """
    pictures: list[str | None] = []
    # Twice the size in both directions leaves the shrinking to one good filter.
    with Decoder(2 * THUMBNAIL_PX, DecodeConfig()) as decoder:
        for uri in uris:
            try:
                pictures.append(_thumbnail(decoder.decode(read_uri(uri, store))))
            except (FileNotFoundError, ImageError):
                pictures.append(None)
            except UnreachableError:
                pictures.append(None)
                if len(pictures) == _TRIES and not any(pictures):
                    raise
    return pictures


def _thumbnail(decoded: DecodedImage) -> str:
    scale = THUMBNAIL_PX / max(decoded.width, decoded.height)
    size = (max(1, round(decoded.width * scale)), max(1, round(decoded.height * scale)))
    picture = Image.fromarray(decoded.pixels).resize(size, Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    picture.save(buffer, "JPEG", quality=_QUALITY, optimize=True)
    return "data:image/jpeg;base64," + base64.b64encode(buffer.getvalue()).decode()

"""From places to pixels: fetch concurrently, decode in a child process, lose nothing."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import numpy as np
import pyarrow as pa

from ram_ray.config import DecodeConfig, StoreConfig
from ram_ray.errors import ConfigError, ImageError, ImageErrorCode
from ram_ray.images.decoder import Decoder
from ram_ray.images.extra_formats import decoder_versions
from ram_ray.images.remarks import Remark
from ram_ray.runs.ray_data import on_every_node
from ram_ray.storage.fetching import Fetched, Fetcher, FetchLimits
from ram_ray.storage.pins import Pin
from ram_ray.workers.chunks import split_stretch, with_pixels
from ram_ray.workers.fetch_window import FetchWindow, as_fetched


def check_decoders(formats: tuple[str, ...]) -> None:
    """Refuse machines that would read a format otherwise than the others, or not at all.

    Raises:
        ConfigError: there are such.
    """
    if not formats:
        return
    found = on_every_node(decoder_versions, formats)
    for versions in found:
        if versions != found[0]:
            raise ConfigError(
                f"The machines read {', '.join(formats)} with different versions: {found[0]} and "
                f"{versions}; install the same on all."
            )


STRETCHES_IN_FLIGHT = 8
"""Calls of one `FetchAndDecode` at a time: one slow object in a hundred must not stall them all."""

_NOTHING: Future[Fetched] = Future()


class FetchAndDecode:
    """Turns STRETCH into CHUNK_PIXELS: fetches concurrently, decodes in a child process."""

    def __init__(
        self,
        store: StoreConfig,
        limits: FetchLimits,
        decode: DecodeConfig,
        image_size_px: int,
        *,
        pinned: bool = False,
    ) -> None:
        """Start the fetcher's thread and the decoder's process.

        Args:
            pinned: an image whose content is not the one that was listed is an error, `changed`.
        """
        self._fetcher = Fetcher(store, limits)
        self._decoder = Decoder(image_size_px, decode)
        self._decoding = threading.Lock()
        self._window = FetchWindow()
        self._max_bytes = decode.max_image_bytes
        self._size = image_size_px
        self._pinned = pinned

    def __call__(self, stretch: pa.Table) -> Iterator[pa.Table]:
        """Yield the chunks of the one stretch, each when its images are there, in any order.

        Called by STRETCHES_IN_FLIGHT threads: while one waits for slow objects, others decode.
        """
        yield from as_fetched(split_stretch(stretch), self._start, self._window, self._decode)

    def close(self) -> None:
        """End the decoder's process and the fetcher's thread; Ray just ends the whole worker."""
        self._decoder.close()
        self._fetcher.close()

    def _start(self, chunk: dict[str, Any]) -> list[Future[Fetched]]:
        fits = [size <= self._max_bytes for size in chunk["size_bytes"]]
        listed = zip(chunk["uri"], chunk["etag"], chunk["size_bytes"], strict=True)
        wanted = [
            (uri, Pin(etag, size_bytes, strict=self._pinned))
            for (uri, etag, size_bytes), fit in zip(listed, fits, strict=True)
            if fit
        ]
        uris, pins = [uri for uri, _ in wanted], [pin for _, pin in wanted]
        started = iter(self._fetcher.fetch_all(uris, pins))
        return [
            next(started) if fit else _too_large(size, self._max_bytes)
            for size, fit in zip(chunk["size_bytes"], fits, strict=True)
        ]

    def _decode(self, chunk: dict[str, Any], fetches: list[Future[Fetched]]) -> pa.Table:
        """Decode a chunk; a failed image is a code, a message and zero pixels."""
        with self._decoding:
            return self._decode_alone(chunk, fetches)

    def _decode_alone(self, chunk: dict[str, Any], fetches: list[Future[Fetched]]) -> pa.Table:
        pixels = np.zeros((len(fetches), self._size, self._size, 3), np.uint8)
        facts: dict[str, list[Any]] = {
            name: []
            for name in (
                "changed_etag", "width", "height", "error_code", "message", "attempts", "remarks",
            )
        }  # fmt: skip
        for position in range(len(fetches)):
            fetched = fetches[position].result()
            fetches[position] = _NOTHING  # its bytes are freed at once
            width = height = 0
            remarks: list[str] = []
            error = fetched.error
            if fetched.data is not None:
                try:
                    image = self._decoder.decode(fetched.data)
                    pixels[position], width, height = image.pixels, image.width, image.height
                    remarks = [remark.value for remark in image.remarks]
                    remarks += [Remark.CHANGED.value] if fetched.etag else []
                except ImageError as caught:
                    error = caught
            facts["changed_etag"].append(fetched.etag)
            facts["width"].append(width)
            facts["height"].append(height)
            facts["error_code"].append(error and error.code.value)
            facts["message"].append(error and error.message)
            facts["attempts"].append(fetched.attempts)
            facts["remarks"].append(remarks)
        return with_pixels(chunk | facts, pixels)


def _too_large(size_bytes: int, max_bytes: int) -> Future[Fetched]:
    message = f"{size_bytes} bytes; the limit is {max_bytes}."
    refused: Future[Fetched] = Future()
    refused.set_result(Fetched(None, ImageError(ImageErrorCode.TOO_LARGE, message), 0))
    return refused

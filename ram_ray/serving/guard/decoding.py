"""Decoder processes of an ingress: image bytes to pixels off the event loop."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

from ram_ray.config import DecodeConfig
from ram_ray.images.decoder import DecodedImage, Decoder


class DecoderPool:
    """Threads with a `Decoder` each; a decoder's child process dies with its thread, not before."""

    def __init__(self, num_decoders: int, config: DecodeConfig) -> None:
        self._config = config
        self._executor = ThreadPoolExecutor(num_decoders, thread_name_prefix="decode")
        self._local = threading.local()
        self._all: list[Decoder] = []

    async def decode(self, data: bytes, image_size_px: int) -> DecodedImage:
        """Return the image, resized to uint8 [image_size_px, image_size_px, 3].

        Raises:
            ImageError: it cannot be decoded.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._decode, data, image_size_px)

    def close(self) -> None:
        """End the processes."""
        self._executor.shutdown(wait=True, cancel_futures=True)
        for decoder in self._all:
            decoder.close()

    def _decode(self, data: bytes, image_size_px: int) -> DecodedImage:
        # one per size: models of different input sizes may be served side by side
        decoders: dict[int, Decoder] = self._local.__dict__.setdefault("decoders", {})
        if image_size_px not in decoders:
            decoders[image_size_px] = Decoder(image_size_px, self._config)
            self._all.append(decoders[image_size_px])
        return decoders[image_size_px].decode(data)

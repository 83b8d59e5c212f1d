"""How much may be fetched ahead of the decoder, over all stretches that a process works on."""

import queue
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from ram_ray.storage.fetching import Fetched

WINDOW_BYTES = 256 * 2**20
"""Source bytes that one decoder has fetched or asked for, besides the chunk in its hands."""
WINDOW_IMAGES = 4_096
"""Likewise in images: futures and small files cost memory, too."""

Chunk = dict[str, Any]
_Result = TypeVar("_Result")


class FetchWindow:
    """A budget of bytes and images, shared by threads."""

    def __init__(self, max_bytes: int = WINDOW_BYTES, max_images: int = WINDOW_IMAGES) -> None:
        self._lock = threading.Lock()
        self._bytes, self._images = max_bytes, max_images

    def take(self, chunk: Chunk, *, anyway: bool) -> bool:
        """Take a chunk in if there is room; `anyway`: without, too, so that work never stands."""
        num_bytes, num_images = sum(chunk["size_bytes"]), len(chunk["uri"])
        with self._lock:
            if not anyway and (num_bytes > self._bytes or num_images > self._images):
                return False
            self._bytes -= num_bytes
            self._images -= num_images
        return True

    def give_back(self, chunk: Chunk) -> None:
        """Let a chunk go: its bytes are decoded."""
        with self._lock:
            self._bytes += sum(chunk["size_bytes"])
            self._images += len(chunk["uri"])


def as_fetched(
    chunks: Sequence[Chunk],
    start: Callable[[Chunk], list[Future[Fetched]]],
    window: FetchWindow,
    decode: Callable[[Chunk, list[Future[Fetched]]], _Result],
) -> Iterator[_Result]:
    """Yield what `decode` makes of each chunk, in the order in which they are fetched whole.

    As many are fetched at a time as the window takes: one slow object holds up its own chunk.

    Args:
        start: starts fetching the images of a chunk; the futures never raise.
    """
    waiting, whole = deque(chunks), queue.SimpleQueue()
    flying = 0
    while waiting or flying:
        while waiting and window.take(waiting[0], anyway=not flying):
            chunk = waiting.popleft()
            flying += 1
            _when_all(start(chunk), lambda futures, chunk=chunk: whole.put((chunk, futures)))
        chunk, futures = whole.get()
        flying -= 1
        try:
            result = decode(chunk, futures)
        finally:
            window.give_back(chunk)
        yield result


def _when_all(
    futures: list[Future[Fetched]], then: Callable[[list[Future[Fetched]]], None]
) -> None:
    """Call `then` once, when every future has its result."""
    lock, left = threading.Lock(), [len(futures)]

    def one_less(_: Future[Fetched]) -> None:
        with lock:
            left[0] -= 1
            done = left[0] == 0
        if done:
            then(futures)

    for future in list(futures):
        future.add_done_callback(one_less)

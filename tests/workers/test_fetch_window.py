"""What is fetched ahead: any order, a bounded amount, nothing lost."""

from collections.abc import Iterator
from concurrent.futures import Future
from typing import Any

import pytest

from ram_ray.storage.fetching import Fetched
from ram_ray.workers.fetch_window import FetchWindow, as_fetched


class _Fetches:
    """Fetches that end when a test says so; `at_once`: chunks that are there when asked for."""

    def __init__(self, at_once: set[int]) -> None:
        self._at_once = at_once
        self.flying: dict[int, list[Future[Fetched]]] = {}
        self.started: list[int] = []

    def start(self, chunk: dict[str, Any]) -> list[Future[Fetched]]:
        futures: list[Future[Fetched]] = [Future() for _ in chunk["uri"]]
        self.flying[chunk["chunk"]] = futures
        self.started.append(chunk["chunk"])
        if chunk["chunk"] in self._at_once:
            self.come(chunk["chunk"])
        return futures

    def come(self, chunk: int) -> None:
        for future in self.flying.pop(chunk):
            future.set_result(Fetched(b"", None, 1))


def begin(fetches: _Fetches, window: FetchWindow, *sizes: int) -> Iterator[int]:
    """Return the chunks' numbers as they come; each has two images of `size` bytes."""
    chunks = [
        {"chunk": n, "uri": ["a", "b"], "size_bytes": [size, size]} for n, size in enumerate(sizes)
    ]

    def decode(chunk: dict[str, Any], futures: list[Future[Fetched]]) -> int:
        assert [future.done() for future in futures] == [True, True]
        return chunk["chunk"]

    return as_fetched(chunks, fetches.start, window, decode)


def test_a_slow_chunk_holds_up_nobody() -> None:
    fetches = _Fetches({1, 2})
    results = begin(fetches, FetchWindow(), 1, 1, 1)
    assert [next(results), next(results)] == [1, 2]
    fetches.come(0)
    assert list(results) == [0]


@pytest.mark.parametrize("window", [FetchWindow(max_bytes=40), FetchWindow(max_images=4)])
def test_no_more_is_asked_for_than_the_window_takes(window: FetchWindow) -> None:
    fetches = _Fetches({0, 1, 2, 3})
    results = begin(fetches, window, 10, 10, 10, 10)
    assert next(results) == 0
    assert fetches.started == [0, 1]
    assert next(results) == 1
    assert fetches.started == [0, 1, 2]  # what is decoded makes room
    assert list(results) == [2, 3]


def test_a_chunk_beyond_the_window_comes_alone_and_threads_share_one() -> None:
    window = FetchWindow(max_bytes=10)
    fetches = _Fetches({0, 1})
    first, second = begin(fetches, window, 500, 500), begin(_Fetches({0, 1}), window, 5, 5)
    assert next(first) == 0
    assert fetches.started == [0]
    assert list(second) == [0, 1]
    assert list(first) == [1]


def test_room_is_given_back_when_decoding_fails() -> None:
    window = FetchWindow(max_images=2)

    def fail(*_: object) -> int:
        raise RuntimeError("a decoder that cannot be started")

    chunk = {"chunk": 0, "uri": ["a", "b"], "size_bytes": [1, 1]}
    with pytest.raises(RuntimeError):
        next(as_fetched([chunk], _Fetches({0}).start, window, fail))
    assert window.take(chunk, anyway=False)

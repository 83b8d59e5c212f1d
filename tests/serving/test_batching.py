"""Calls join while the model is busy, and one call's trouble stays its own."""

import asyncio
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from ram_ray.serving.batching import Batcher


def test_what_waits_is_joined_up_to_the_limit() -> None:
    started, go_on = threading.Event(), threading.Event()
    batches: list[list[int]] = []

    def double(items: list[int]) -> list[int]:
        batches.append(items)
        started.set()
        assert go_on.wait(10)
        return [2 * item for item in items]

    async def run(executor: ThreadPoolExecutor) -> list[int]:
        batcher = Batcher(double, max_batch_size=4, executor=executor)
        first = asyncio.create_task(batcher(0))
        await asyncio.to_thread(started.wait)
        others = [asyncio.create_task(batcher(item)) for item in range(1, 8)]
        await asyncio.sleep(0.01)
        others[2].cancel()
        await asyncio.sleep(0.01)
        go_on.set()
        return await asyncio.gather(first, *(task for task in others if task is not others[2]))

    with ThreadPoolExecutor(1) as executor:
        assert asyncio.run(run(executor)) == [0, 2, 4, 8, 10, 12, 14]
    assert batches == [[0], [1, 2, 4, 5], [6, 7]]


def test_alone_means_alone() -> None:
    batches: list[list[int]] = []

    def note(items: list[int]) -> list[int]:
        batches.append(items)
        return items

    async def run(executor: ThreadPoolExecutor) -> None:
        batcher = Batcher(note, max_batch_size=8, executor=executor)
        calls = [batcher(item, alone=item in (2, 3)) for item in range(6)]
        await asyncio.gather(*calls)

    with ThreadPoolExecutor(1) as executor:
        asyncio.run(run(executor))
    assert batches == [[0, 1], [2], [3], [4, 5]]


def test_a_call_that_fails_does_not_stop_later_ones() -> None:
    def invert(items: list[int]) -> list[float]:
        return [1 / item for item in items]

    async def run(executor: ThreadPoolExecutor) -> float:
        batcher = Batcher(invert, max_batch_size=1, executor=executor)
        with pytest.raises(ZeroDivisionError):
            await batcher(0)
        return await batcher(4)

    with ThreadPoolExecutor(1) as executor:
        assert asyncio.run(run(executor)) == 0.25

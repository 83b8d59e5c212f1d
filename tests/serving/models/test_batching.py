"""Calls join while the callee is busy, and one call's trouble stays its own."""

import asyncio

import pytest

from ram_ray.serving.models.batching import Batcher


class Callee:
    """Doubles numbers when told to go on; notes its batches."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.go_on = asyncio.Event()

    async def __call__(self, items: list[int], /, *, alone: bool) -> list[int]:
        assert not alone or len(items) == 1
        self.batches.append(items)
        await self.go_on.wait()
        return [2 * item for item in items]


def test_what_waits_is_joined_up_to_the_limit() -> None:
    async def run() -> list[int]:
        callee = Callee()
        batcher = Batcher(callee, max_batch_size=4)
        first = asyncio.create_task(batcher(0))
        await asyncio.sleep(0.01)
        others = [asyncio.create_task(batcher(item)) for item in range(1, 8)]
        await asyncio.sleep(0.01)
        others[2].cancel()
        await asyncio.sleep(0.01)
        assert (batcher.num_calls, batcher.num_waiting) == (1, 7)
        callee.go_on.set()
        results = await asyncio.gather(first, *(task for task in others if task is not others[2]))
        assert callee.batches == [[0], [1, 2, 4, 5], [6, 7]]
        return results

    assert asyncio.run(run()) == [0, 2, 4, 8, 10, 12, 14]


def test_a_full_batch_need_not_wait() -> None:
    async def run() -> None:
        callee = Callee()
        batcher = Batcher(callee, max_batch_size=2, max_full_calls=lambda: 2)
        tasks = [asyncio.create_task(batcher(item)) for item in range(4)]
        await asyncio.sleep(0.01)
        assert callee.batches == [[0, 1], [2, 3]]
        tasks += [asyncio.create_task(batcher(item)) for item in range(4, 7)]
        await asyncio.sleep(0.01)
        assert len(callee.batches) == 2
        callee.go_on.set()
        await asyncio.gather(*tasks)
        assert callee.batches[2:] == [[4, 5], [6]]

    asyncio.run(run())


def test_a_batch_as_large_as_the_one_under_way_need_not_wait() -> None:
    async def run() -> None:
        callee = Callee()
        batcher = Batcher(callee, max_batch_size=16, max_full_calls=lambda: 2)
        tasks = [asyncio.create_task(batcher(item)) for item in range(3)]
        await asyncio.sleep(0.01)
        tasks += [asyncio.create_task(batcher(item)) for item in range(3, 5)]
        await asyncio.sleep(0.01)
        assert callee.batches == [[0, 1, 2]]
        tasks += [asyncio.create_task(batcher(item)) for item in range(5, 9)]
        await asyncio.sleep(0.01)
        assert callee.batches == [[0, 1, 2], [3, 4, 5, 6, 7, 8]]
        callee.go_on.set()
        await asyncio.gather(*tasks)

    asyncio.run(run())


def test_alone_means_alone() -> None:
    async def run() -> None:
        callee = Callee()
        callee.go_on.set()
        batcher = Batcher(callee, max_batch_size=8)
        await asyncio.gather(*(batcher(item, alone=item in (2, 3)) for item in range(6)))
        assert callee.batches == [[0, 1], [2], [3], [4, 5]]

    asyncio.run(run())


def test_a_call_that_fails_does_not_stop_later_ones() -> None:
    async def invert(items: list[int], /, *, alone: bool) -> list[float]:
        del alone
        return [1 / item for item in items]

    async def run() -> float:
        batcher = Batcher(invert, max_batch_size=1)
        with pytest.raises(ZeroDivisionError):
            await batcher(0)
        return await batcher(4)

    assert asyncio.run(run()) == 0.25

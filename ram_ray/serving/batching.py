"""Batches of calls: whatever waits while the model is busy goes into its next call.

Not `@serve.batch`: that closes a batch a fixed time after its first item, also while the model is
busy (ray/serve/batching.py, `_process_batches` waits for its semaphore after the batch is made). An
idle model then waits for nothing, and a busy one gets batches that could have been larger.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Batcher(Generic[Item, Result]):
    """Joins concurrent calls of one event loop into calls of `run`, one at a time."""

    def __init__(
        self,
        run: Callable[[list[Item]], list[Result]],
        *,
        max_batch_size: int,
        executor: Executor,
    ) -> None:
        """Remember what to run.

        Args:
            run: takes 1 to `max_batch_size` items, returns one result per item; must not raise
                for a single bad item, since its neighbours would fail too.
            executor: where it runs, so that the event loop goes on collecting.
        """
        self._run = run
        self._max_batch_size = max_batch_size
        self._executor = executor
        self._waiting: deque[_Call[Item, Result]] = deque()
        self._worker: asyncio.Task[None] | None = None

    async def __call__(self, item: Item, *, alone: bool = False) -> Result:
        """Return the result of one item; `alone` gives it a call of its own."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Call(item, alone, future))
        if self._worker is None or self._worker.done():
            self._worker = asyncio.create_task(self._work())
        return await future

    async def _work(self) -> None:
        while batch := self._next_batch():
            items = [call.item for call in batch]
            loop = asyncio.get_running_loop()
            try:
                results = await loop.run_in_executor(self._executor, self._run, items)
            except Exception as error:  # noqa: BLE001  whatever it is, the callers get it
                for call in batch:
                    if not call.future.done():
                        call.future.set_exception(error)
                continue
            for call, result in zip(batch, results, strict=True):
                if not call.future.done():
                    call.future.set_result(result)

    def _next_batch(self) -> list["_Call[Item, Result]"]:
        batch: list[_Call[Item, Result]] = []
        while self._waiting and len(batch) < self._max_batch_size:
            if batch and (self._waiting[0].alone or batch[0].alone):
                break
            call = self._waiting.popleft()
            if not call.future.cancelled():  # its caller has left
                batch.append(call)
        return batch


@dataclass(frozen=True, slots=True)
class _Call(Generic[Item, Result]):
    item: Item
    alone: bool
    future: asyncio.Future[Result]

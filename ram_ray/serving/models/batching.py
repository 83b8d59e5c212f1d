"""Batches of calls: whatever waits while the callee is busy goes into its next call.

Not `@serve.batch`: that closes a batch a fixed time after its first item, also while the model is
busy (ray/serve/batching.py, `_process_batches` waits for its semaphore after the batch is made). An
idle model then waits for nothing, and a busy one gets batches that could have been larger.
"""

import asyncio
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


class Run(Protocol[Item, Result]):
    """What a Batcher calls."""

    async def __call__(self, items: list[Item], /, *, alone: bool) -> list[Result]: ...


class Batcher(Generic[Item, Result]):
    """Joins concurrent calls of one event loop into calls of `run`, a few at a time."""

    def __init__(
        self,
        run: "Run[Item, Result]",
        *,
        max_batch_size: int,
        max_calls: Callable[[], int] = lambda: 1,
        max_full_calls: Callable[[], int] | None = None,
    ) -> None:
        """Remember what to run.

        Args:
            run: takes 1 to `max_batch_size` items, and whether it is one that is to be alone;
                returns one result per item; must not raise for a single bad item, since its
                neighbours would fail too.
            max_calls: how many calls of `run` may be under way now; asked before each.
            max_full_calls: the same for a call that is full, or as large as all under way: it waits
                at the callee, which then never waits for the next (8 clients: results, serving).
        """
        self._run = run
        self._max_batch_size = max_batch_size
        self._max_calls = max_calls
        self._max_full_calls = max_full_calls or max_calls
        self._waiting: deque[_Call[Item, Result]] = deque()
        self._under_way: dict[asyncio.Task[None], int] = {}

    async def __call__(self, item: Item, *, alone: bool = False) -> Result:
        """Return the result of one item; `alone` gives it a call of its own."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append(_Call(item, alone, future))
        if len(self._waiting) in (1, self._full_size()):
            loop.call_soon(self._start_calls)  # soon: what comes in the same moment joins
        return await future

    @property
    def num_waiting(self) -> int:
        """Items that are in no call yet."""
        return len(self._waiting)

    @property
    def num_calls(self) -> int:
        """Calls of `run` under way."""
        return len(self._under_way)

    def _start_calls(self) -> None:
        while self._may_call() and (batch := self._next_batch()):
            task = asyncio.create_task(self._call(batch))
            self._under_way[task] = len(batch)
            task.add_done_callback(self._end_call)

    def _may_call(self) -> bool:
        is_full = len(self._waiting) >= self._full_size()
        most = self._max_full_calls() if is_full else self._max_calls()
        return len(self._under_way) < most

    def _full_size(self) -> int:
        return min(self._max_batch_size, sum(self._under_way.values()) or self._max_batch_size)

    def _end_call(self, task: asyncio.Task[None]) -> None:
        del self._under_way[task]
        self._start_calls()

    async def _call(self, batch: list["_Call[Item, Result]"]) -> None:
        try:
            results = await self._run([call.item for call in batch], alone=batch[0].alone)
        except Exception as error:  # noqa: BLE001  whatever it is, the callers get it
            for call in batch:
                if not call.future.done():
                    call.future.set_exception(error)
            return
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

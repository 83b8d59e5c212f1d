"""Calls whose process died are repeated; nothing else is."""

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError

from ram_ray.errors import ImageError
from ram_ray.serving.api import ModelVersion, RequestErrorCode
from ram_ray.serving.config import ServeConfig
from ram_ray.serving.metrics import Metrics
from ram_ray.serving.models.backend import (
    Failure,
    ImageCall,
    ImageSizeError,
    Prediction,
    Selection,
    WrongSize,
)
from ram_ray.serving.models.serve_backend import ServeBackend
from ram_ray.serving.problems import Problem

PIXELS = np.zeros((2, 2, 3), np.uint8)


def prediction() -> Prediction:
    nothing = np.zeros(0, np.float32)
    version = ModelVersion(id="m", weights_sha256="w", vocabulary_sha256="v", thresholds_sha256="t")
    return Prediction(
        version=version,
        tag_ids=nothing.astype(np.int32),
        scores=nothing,
        thresholds=nothing,
        names=[],
        names_zh=[],
        kinds=[],
    )


class Handle:
    """A deployment handle whose calls do what a list says, and note what they were asked."""

    def __init__(self, *outcomes: Any) -> None:
        self._outcomes = iter(outcomes)
        self.alone: list[bool] = []
        self.calls: list[tuple[int, float]] = []  # images, and those that the call stands for
        self.tag = self

    async def remote(
        self, model: str, images: Sequence[ImageCall], alone: bool, demand: float
    ) -> list[Any]:
        del model
        self.alone.append(alone)
        self.calls.append((len(images), demand))
        outcomes = [next(self._outcomes) for _ in images]
        for outcome in outcomes:
            if isinstance(outcome, Exception):
                raise outcome
        await asyncio.sleep(0.01)
        return outcomes


def died() -> ActorDiedError:
    return ActorDiedError()


def wrapped(cause: Exception) -> RayTaskError:
    return RayTaskError("tag", "traceback", cause)


def unavailable() -> ActorUnavailableError:
    return ActorUnavailableError("network", b"0" * 16)


def ask(handle: Handle, *, seconds: float = 10.0, metrics: Metrics | None = None) -> Prediction:
    async def run() -> Prediction:
        config = ServeConfig(device="cpu")
        backend = ServeBackend(handle, config, metrics or Metrics())  # pyright: ignore
        return await backend.tag("ram-mini", PIXELS, Selection(), time.monotonic() + seconds)

    return asyncio.run(run())


@pytest.mark.parametrize("death", [died, unavailable, lambda: wrapped(died())])
def test_a_call_whose_process_died_is_repeated(death: Callable[[], Exception]) -> None:
    metrics, answer = Metrics(), prediction()
    handle = Handle(death(), answer)
    assert ask(handle, metrics=metrics) is answer
    assert handle.alone == [False, False]
    assert b"ram_ray_replica_retries_total 1.0" in metrics.exposition()


def test_an_image_that_kills_is_called_alone_and_then_given_up() -> None:
    handle = Handle(died(), died(), died())
    with pytest.raises(ImageError, match="3 model processes died") as failed:
        ask(handle)
    assert failed.value.code == "model_error"
    assert handle.alone == [False, False, True]


def test_its_neighbour_survives_alone() -> None:
    answer = prediction()
    handle = Handle(died(), died(), answer)
    assert ask(handle) is answer
    assert handle.alone == [False, False, True]


@pytest.mark.parametrize("error", [ValueError("bug"), wrapped(ValueError("bug")), TimeoutError()])
def test_other_errors_are_not_repeated(error: Exception) -> None:
    handle = Handle(error)
    with pytest.raises(type(error)):
        ask(handle)
    assert handle.alone == [False]


def test_a_death_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    answers = [prediction() for _ in range(4)]
    with caplog.at_level("INFO", logger="ram_ray.serving.log"):
        handle = Handle(unavailable(), unavailable(), *answers)

        async def run() -> None:
            config = ServeConfig(device="cpu", batch_size=1)
            backend = ServeBackend(handle, config, Metrics())  # pyright: ignore
            deadline = time.monotonic() + 10
            calls = (backend.tag("ram-mini", PIXELS, Selection(), deadline) for _ in range(4))
            await asyncio.gather(*calls)

        asyncio.run(run())
    assert [record.getMessage() for record in caplog.records] == ["model_died"]


def test_repeating_ends_with_the_deadline() -> None:
    with pytest.raises(Problem) as refused:
        ask(Handle(died(), died()), seconds=0.01)
    assert (refused.value.code, refused.value.status_code) == ("deadline_exceeded", 503)


def test_outcomes_become_exceptions() -> None:
    with pytest.raises(ImageSizeError) as size:
        ask(Handle(WrongSize(384)))
    assert size.value.image_size_px == 384
    with pytest.raises(Problem) as refused:
        ask(Handle(Failure(RequestErrorCode.UNKNOWN_TAGS, "no")))
    assert refused.value.code == "unknown_tags"


def test_images_that_wait_go_together() -> None:
    metrics, answers = Metrics(), [prediction() for _ in range(7)]
    handle = Handle(*answers)

    async def run() -> list[Prediction]:
        config = ServeConfig(device="cpu", batch_size=3)
        backend = ServeBackend(handle, config, metrics)  # pyright: ignore
        deadline = time.monotonic() + 10
        calls = (backend.tag("ram-mini", PIXELS, Selection(), deadline) for _ in range(7))
        return list(await asyncio.gather(*calls))

    assert asyncio.run(run()) == answers
    # one process: a full batch in it, a full one beside, the seventh image waits for both
    assert handle.calls == [(3, 3.5), (3, 3.5), (1, 1.0)]
    assert b"ram_ray_model_calls_total 3.0" in metrics.exposition()

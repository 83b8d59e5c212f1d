"""Calls of an ingress to the model processes, repeated when one of those dies.

Serve itself repeats a call only until a replica accepts it; what a dying replica had accepted fails
with ActorDiedError or ActorUnavailableError. Tagging has no side effects, so such calls, and only
those, are made again within the request's deadline.
"""

import asyncio
import logging
import random
import time
from typing import Any

import numpy as np
from ray.exceptions import ActorDiedError, ActorUnavailableError, RayTaskError
from ray.serve.exceptions import DeploymentUnavailableError
from ray.serve.handle import DeploymentHandle

from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.serving.api import ModelVersion, RequestErrorCode
from ram_ray.serving.config import ServeConfig
from ram_ray.serving.log import note
from ram_ray.serving.metrics import Metrics
from ram_ray.serving.models.backend import (
    ImageCall,
    ModelCard,
    Outcome,
    Prediction,
    Selection,
    prediction_of,
)
from ram_ray.serving.models.batching import Batcher
from ram_ray.serving.models.replica_count import running_replicas
from ram_ray.serving.problems import Problem

MODEL_DEPLOYMENT = "model"
DEATHS_UNTIL_ALONE = 2
"""Model processes that died in an image's calls before it gets calls of its own."""
DEATHS_UNTIL_GIVEN_UP = 3
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 0.05, 1.0
_DEATH_S, _MOST_DEATHS = 60.0, 100  # calls that a dying process had come back within moments
_CARD_PERIOD_S = 1.0  # how often at most a changed model is asked for its card
_CARD_TIMEOUT_S = 60.0


class ServeBackend:
    """The models behind a deployment handle."""

    def __init__(self, handle: DeploymentHandle, config: ServeConfig, metrics: Metrics) -> None:
        self._config = config
        self._metrics = metrics
        self._handles: dict[str, DeploymentHandle] = {}
        for name in config.models:
            # a single model needs no routing by model
            several = len(config.models) > 1
            self._handles[name] = handle.options(multiplexed_model_id=name) if several else handle
        self._callers = {
            name: _Caller(name, self._handles[name], config, metrics) for name in config.models
        }
        self._cards: dict[str, tuple[ModelCard, float]] = {}
        self._card_locks = {name: asyncio.Lock() for name in config.models}
        self._one_alone = asyncio.Lock()
        self._deaths: dict[str, float] = {}
        self._connecting: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Connect to the model processes without waiting for them, unless they are to sleep."""
        if self._config.replicas.min_replicas > 0:
            self._connecting = asyncio.create_task(self._connect())

    async def close(self) -> None:
        """Stop connecting; calls end with their requests."""
        if self._connecting is not None:
            self._connecting.cancel()

    async def not_ready_reason(self) -> str:
        """Return "" while a model process is up, or may be started by a request."""
        if self._config.replicas.min_replicas == 0 or running_replicas(MODEL_DEPLOYMENT):
            return ""
        return "No model process is up."

    async def card(self, model: str) -> ModelCard:
        """Return a model's card, remembered until its answers show another version.

        Raises:
            Problem: not_ready.
        """
        async with self._card_locks[model]:  # many requests, one question
            if model not in self._cards:
                deadline = time.monotonic() + _CARD_TIMEOUT_S
                card = await self._call_until(deadline, self._handles[model].card, model)
                self._cards[model] = (card, time.monotonic())
            return self._cards[model][0]

    async def tag(
        self, model: str, pixels: np.ndarray, selection: Selection, deadline: float
    ) -> Prediction:
        """Return the tags of one image; calls whose process died are repeated.

        Raises:
            ImageError: model_error, when processes keep dying on this image.
            Problem: not_ready, unknown_tags, deadline_exceeded.
            ImageSizeError: the model wants another size by now.
        """
        deaths, pause = 0, _FIRST_PAUSE_S
        while True:
            try:
                outcome = await self._tag_once(model, pixels, selection, deaths)
                break
            except (ActorDiedError, ActorUnavailableError, RayTaskError) as error:
                if not _is_death(error):
                    raise
                self._note_death(model, error)
            deaths += 1
            self._metrics.replica_retries.inc()
            if deaths >= DEATHS_UNTIL_GIVEN_UP:
                message = f"{deaths} model processes died while they had this image."
                raise ImageError(ImageErrorCode.MODEL_ERROR, message)
            pause = await _pause(pause, deadline)
        prediction = prediction_of(outcome)
        self._notice(model, prediction.version)
        return prediction

    async def _connect(self) -> None:
        """Make a first call: Serve's handles learn of replicas from then on."""
        while True:
            try:
                await self.card(self._config.models[0])
                return
            except Problem:  # processes that die or cannot start; Serve goes on trying
                await asyncio.sleep(_LONGEST_PAUSE_S)

    async def _tag_once(
        self, model: str, pixels: np.ndarray, selection: Selection, deaths: int
    ) -> Outcome:
        call = self._callers[model].tag
        try:
            if deaths < DEATHS_UNTIL_ALONE:
                return await call((pixels, selection))
            # One at a time, so that the next death is of this image and condemns no other.
            async with self._one_alone:
                return await call((pixels, selection), alone=True)
        except DeploymentUnavailableError:
            raise _unavailable() from None

    async def _call_until(self, deadline: float, method: Any, *arguments: Any) -> Any:
        pause = _FIRST_PAUSE_S
        while True:
            try:
                return await method.remote(*arguments)
            except DeploymentUnavailableError:
                raise _unavailable() from None
            except (ActorDiedError, ActorUnavailableError, RayTaskError) as error:
                if not _is_death(error):
                    raise
            pause = await _pause(pause, deadline)

    def _note_death(self, model: str, error: Exception) -> None:
        """Write a line per process that died, not per call that it had."""
        cause = getattr(error, "cause", None) or error
        actor = str(getattr(cause, "actor_id", "") or "unknown")
        now = time.monotonic()
        if now - self._deaths.get(actor, -_DEATH_S) >= _DEATH_S:
            note("model_died", level=logging.WARNING, model=model, actor=actor)
        self._deaths[actor] = now
        while len(self._deaths) > _MOST_DEATHS:
            self._deaths.pop(next(iter(self._deaths)))

    def _notice(self, model: str, version: ModelVersion) -> None:
        """Forget a card that an update has made old; not more often than once in a while."""
        known = self._cards.get(model)
        if known and known[0].info.version != version:
            if time.monotonic() - known[1] > _CARD_PERIOD_S:
                del self._cards[model]


class _Caller:
    """Joins the images that wait for one model into calls of up to `batch_size` images."""

    def __init__(
        self, model: str, handle: DeploymentHandle, config: ServeConfig, metrics: Metrics
    ) -> None:
        self._model = model
        self._metrics = metrics
        self._handle = handle
        # A call costs about as much CPU as tagging an image with a small model, so images wait
        # here for a free process, and then go together; a full batch goes beside the call before.
        self.tag = Batcher(
            self._call,
            max_batch_size=config.batch_size,
            max_calls=_model_processes,
            max_full_calls=lambda: 2 * _model_processes(),
        )

    async def _call(self, images: list[ImageCall], *, alone: bool) -> list[Outcome]:
        waiting, calls = self.tag.num_waiting, self.tag.num_calls
        self._metrics.model_calls.inc()
        demand = len(images) + waiting / calls
        return await self._handle.tag.remote(self._model, images, alone, demand)


def _model_processes() -> int:
    return max(1, running_replicas(MODEL_DEPLOYMENT))


def _is_death(error: Exception) -> bool:
    """Return whether a call failed because its process died, not because of what it did."""
    cause = getattr(error, "cause", None) if isinstance(error, RayTaskError) else error
    return isinstance(cause, ActorDiedError | ActorUnavailableError)


async def _pause(pause_s: float, deadline: float) -> float:
    """Wait with jitter; return the next pause.

    Raises:
        Problem: deadline_exceeded.
    """
    if time.monotonic() + pause_s > deadline:
        raise Problem(
            RequestErrorCode.DEADLINE_EXCEEDED,
            "Model processes kept dying until the time was up.",
            retry_after_s=5,
        )
    await asyncio.sleep(pause_s * random.uniform(0.5, 1.0))
    return min(2 * pause_s, _LONGEST_PAUSE_S)


def _unavailable() -> Problem:
    return Problem(
        RequestErrorCode.NOT_READY, "No model process could be started.", retry_after_s=10
    )

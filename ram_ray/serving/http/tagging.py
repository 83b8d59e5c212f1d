"""A request's images to tags, read top-down: admit, read the model's card, decode, tag, check.

All doors (our API, Rekognition's and Azure's shapes) come through `tag_images`.
"""

import asyncio
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ram_ray.errors import ImageError
from ram_ray.images.decoder import DecodedImage
from ram_ray.serving.api import ErrorDetail, ModelVersion, RequestErrorCode
from ram_ray.serving.config import ServeConfig
from ram_ray.serving.context import ServingContext
from ram_ray.serving.log import request_facts
from ram_ray.serving.models.backend import ImageSizeError, ModelCard, Prediction, Selection
from ram_ray.serving.problems import Problem

_READY_WAIT_S, _READY_PERIOD_S = 3.0, 0.05
"""For a model process to be up again: one that died may be noticed before the next is."""
_MIX_PAUSE_S = 0.1  # between attempts to get one answer from one version of a model


T = TypeVar("T")


@dataclass(frozen=True, kw_only=True, slots=True)
class SentImage:
    """One image of a request: its bytes, or where they are, or why there are none."""

    name: str | None = None
    data: bytes | None = None
    url: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class TaggedImage:
    """What became of one image: `prediction` or `error`."""

    name: str | None
    width: int = 0
    height: int = 0
    prediction: Prediction | None = None
    error: "ImageError | Problem | None" = None
    """A Problem only where it is of this image alone: its URL is not allowed."""

    def problem(self) -> Problem | None:
        """Return what ends a request of this image alone."""
        return Problem.of_image(self.error) if isinstance(self.error, ImageError) else self.error


@dataclass(frozen=True, kw_only=True, slots=True)
class TaggedRequest:
    """A request's answer, of one version of one model."""

    version: ModelVersion
    images: list[TaggedImage]


async def tag_images(
    context: ServingContext,
    client: str,
    images: Sequence[SentImage],
    *,
    model: str | None,
    selection: Selection,
) -> TaggedRequest:
    """Return the tags of each image; an image that cannot be tagged carries its error.

    Args:
        client: who is counted, from `Access.caller_of`.

    Raises:
        Problem: the request as a whole is refused, or was not done in time.
    """
    name = model_name(context.config, model)
    request_facts.get({}).update(images=len(images), model=name)
    check_count(context.config, len(images))
    limits = context.config.limits
    with context.admission.images(len(images), client):
        context.access.spend(client, len(images))
        deadline = time.monotonic() + limits.request_timeout_s
        try:
            async with asyncio.timeout(limits.request_timeout_s):
                await _wait_until_ready(context)
                tagged = await _tag_admitted(context, client, name, images, selection, deadline)
        except TimeoutError:
            raise Problem(
                RequestErrorCode.DEADLINE_EXCEEDED,
                f"Not done within {limits.request_timeout_s:g} s; try again later.",
                retry_after_s=5,
            ) from None
    for image in tagged.images:
        context.metrics.images.labels(image.error.code.value if image.error else "ok").inc()
    return tagged


def model_name(config: ServeConfig, asked_for: str | None) -> str:
    """Return the model to use.

    Raises:
        Problem: unknown_model.
    """
    if asked_for is None:
        return config.models[0]
    if asked_for not in config.models:
        served = ", ".join(config.models)
        raise Problem(
            RequestErrorCode.UNKNOWN_MODEL, f"This server has no such model; it has {served}."
        )
    return asked_for


def check_count(config: ServeConfig, num_images: int) -> None:
    """Raise Problem (too_many_images) above the limit of a request."""
    most = config.limits.max_images_per_request
    if num_images > most:
        raise Problem(
            RequestErrorCode.TOO_MANY_IMAGES, f"A request may hold {most} images at most."
        )


async def _wait_until_ready(context: ServingContext) -> None:
    """Return once a model process is up.

    Raises:
        Problem: not_ready, when none was for a while.
    """
    until = time.monotonic() + _READY_WAIT_S
    while reason := await context.backend.not_ready_reason():
        if time.monotonic() > until:
            raise Problem(RequestErrorCode.NOT_READY, reason, retry_after_s=2)
        await asyncio.sleep(_READY_PERIOD_S)


async def _tag_admitted(
    context: ServingContext,
    client: str,
    model: str,
    images: Sequence[SentImage],
    selection: Selection,
    deadline: float,
) -> TaggedRequest:
    card = await context.backend.card(model)
    _check_selection(card, selection)
    one = _OneImage(context, client, model, card.info.image_size_px, selection, deadline)
    tagged = await _together([one.tag(image) for image in images])
    while len(versions := _versions(tagged)) > 1:
        # An update is under way: an answer is of one version, the newer one, so redo the others.
        await asyncio.sleep(_MIX_PAUSE_S)
        old = card.info.version if card.info.version in versions else versions[0]
        for position, image in enumerate(tagged):
            if image.prediction and image.prediction.version == old:
                tagged[position] = await one.tag(images[position])
    return TaggedRequest(version=versions[0] if versions else card.info.version, images=tagged)


async def _together(calls: list[Coroutine[Any, Any, T]]) -> list[T]:
    """Return all results; the first failure ends the other calls and is raised as it is."""
    try:
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(call) for call in calls]
    except BaseExceptionGroup as failed:
        raise failed.exceptions[0] from None
    return [task.result() for task in tasks]


def _versions(tagged: Sequence[TaggedImage]) -> list[ModelVersion]:
    found: list[ModelVersion] = []
    for image in tagged:
        if image.prediction and image.prediction.version not in found:
            found.append(image.prediction.version)
    return found


@dataclass(frozen=True, slots=True)
class _OneImage:
    context: ServingContext
    client: str
    model: str
    image_size_px: int
    selection: Selection
    deadline: float

    async def tag(self, image: SentImage) -> TaggedImage:
        """Fetch, decode and tag one image; its own failures are results."""
        try:
            if image.data is not None:
                decoded, prediction = await self._predict(image.data)
            else:
                async with self.context.urls.image(image.url or "", self.client) as data:
                    decoded, prediction = await self._predict(data)
        except ImageError as error:
            return TaggedImage(name=image.name, error=error)
        except Problem as problem:
            if problem.code is not RequestErrorCode.URL_NOT_ALLOWED:
                raise
            return TaggedImage(name=image.name, error=problem)
        return TaggedImage(
            name=image.name, width=decoded.width, height=decoded.height, prediction=prediction
        )

    async def _predict(self, data: bytes) -> tuple[DecodedImage, Prediction]:
        backend, size = self.context.backend, self.image_size_px
        while True:
            decoded = await self.context.decoders.decode(data, size)
            try:
                return decoded, await backend.tag(
                    self.model, decoded.pixels, self.selection, self.deadline
                )
            except ImageSizeError as error:
                size = error.image_size_px  # an update brought another input size


def _check_selection(card: ModelCard, selection: Selection) -> None:
    """Refuse what the model cannot do, before anything is decoded."""
    able = card.info.capabilities
    for option, can in (("caption", able.caption), ("boxes", able.boxes)):
        if getattr(selection, option) and not can:
            raise Problem(
                RequestErrorCode.UNSUPPORTED_OPTION,
                f"{card.info.id} gives no {option}; /v1/models shows what each model can do.",
                details=[ErrorDetail(field=option, message="this model cannot do it")],
            )
    _check_words(card, "tags", selection.tags or ())
    known = {name for name, _ in selection.thresholds}
    _check_words(card, "thresholds", sorted(known - set(selection.tags or ())), may_be_new=False)


def _check_words(
    card: ModelCard, field: str, words: Sequence[str], *, may_be_new: bool = True
) -> None:
    _, unknown = card.vocabulary.split(words)
    if not unknown or (may_be_new and card.info.capabilities.open_set):
        return
    shown = ", ".join(repr(word) for word in unknown[:10])
    more = f" and {len(unknown) - 10} more" if len(unknown) > 10 else ""
    details: list[Any] = [ErrorDetail(field=field, message=f"unknown: {w}") for w in unknown[:20]]
    raise Problem(
        RequestErrorCode.UNKNOWN_TAGS,
        f"{card.info.id} does not know {shown}{more}; /v1/tags lists what it knows.",
        details=details,
    )

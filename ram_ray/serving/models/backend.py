"""The one interface between HTTP and models: in this process, or on Ray Serve."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np

from ram_model.vocabulary import Vocabulary
from ram_ray.errors import ImageError, ImageErrorCode
from ram_ray.serving.api import ModelInfo, ModelVersion, RequestErrorCode
from ram_ray.serving.problems import Problem


@dataclass(frozen=True, kw_only=True, slots=True)
class Selection:
    """Which tags of an image are wanted; hashable, so that equal ones are decided together."""

    tags: tuple[str, ...] | None = None
    threshold: float | None = None
    thresholds: tuple[tuple[str, float], ...] = ()
    """Of single tags, over `threshold`."""
    score_floor: float | None = None
    top_k: int | None = None
    caption: bool = False
    boxes: bool = False


ImageCall = tuple[np.ndarray, Selection]
"""One image of a call to a model process: uint8 [S, S, 3] RGB, and what is wanted of it."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Prediction:
    """A model's answer for one image; plain arrays and texts, cheap to send."""

    version: ModelVersion
    tag_ids: np.ndarray
    """int32 [k], by falling score, equal scores by id."""
    scores: np.ndarray
    """float32 [k], 0..1."""
    thresholds: np.ndarray
    """float32 [k], those that were applied."""
    names: list[str]
    names_zh: list[str]
    kinds: list[str]
    caption: str | None = None
    caption_confidence: float | None = None
    """Mean probability of the caption's word pieces, 0..1."""
    boxes: list[Any] | None = None
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelCard:
    """A model's facts and its vocabulary."""

    info: ModelInfo
    vocabulary: Vocabulary


class Backend(Protocol):
    """What the routes ask of the models. `model` is one of the configuration's names."""

    async def start(self) -> None:
        """Get ready; called once, in the event loop that serves."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...

    async def card(self, model: str) -> ModelCard:
        """Return a model's card; may wait for it to load.

        Raises:
            Problem: not_ready, deadline_exceeded.
        """
        ...

    async def tag(
        self, model: str, pixels: np.ndarray, selection: Selection, deadline: float
    ) -> Prediction:
        """Return the tags of one image, retried when its model process dies.

        Args:
            pixels: uint8 [S, S, 3] RGB, S of the model's card.
            deadline: of `time.monotonic()`.

        Raises:
            Problem: unknown_tags, deadline_exceeded.
            ImageError: model_error.
            ImageSizeError: the model now wants another S; decode again.
        """
        ...

    async def not_ready_reason(self) -> str:
        """Return why no request would be served now; "" when it would."""
        ...


@dataclass(frozen=True, slots=True)
class Failure:
    """What a model process says instead of a prediction."""

    code: RequestErrorCode | ImageErrorCode
    message: str


@dataclass(frozen=True, slots=True)
class WrongSize:
    """The pixels do not have the model's size."""

    image_size_px: int


Outcome = Prediction | Failure | WrongSize


class ImageSizeError(Exception):
    """The pixels have another size than the model, which was updated meanwhile, wants."""

    def __init__(self, image_size_px: int) -> None:
        super().__init__(f"The model wants images of {image_size_px} px.")
        self.image_size_px = image_size_px


def prediction_of(outcome: Outcome) -> Prediction:
    """Return the prediction.

    Raises:
        ImageError, Problem, ImageSizeError: the outcome is something else.
    """
    if isinstance(outcome, WrongSize):
        raise ImageSizeError(outcome.image_size_px)
    if isinstance(outcome, Failure):
        if isinstance(outcome.code, ImageErrorCode):
            raise ImageError(outcome.code, outcome.message)
        raise Problem(outcome.code, outcome.message)
    return outcome

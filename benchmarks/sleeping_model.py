"""A model of a fixed service time, for scenes whose subject is everything but the model."""

import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from ram_ray.serving.models.backend import Outcome, Prediction
from ram_ray.serving.models.loaded_model import LoadedModel
from ram_ray.serving.models.model_deployment import ModelServer

SECONDS_PER_IMAGE = 0.1
"""10 images/s: two cores that also hold the client can offer 5 times that and refuse it."""


class SleepingModel(LoadedModel):
    """ram-mini in everything but the network: it sleeps, and gives no tags."""

    def _predict(self, items: Sequence[tuple[Any, Any]]) -> list[Outcome]:
        time.sleep(SECONDS_PER_IMAGE * len(items))
        nothing = np.zeros(0, np.float32)
        answer = Prediction(
            version=self.card.info.version,
            tag_ids=nothing.astype(np.int32),
            scores=nothing,
            thresholds=nothing,
            names=[],
            names_zh=[],
            kinds=[],
        )
        return [answer for _ in items]


class SleepingServer(ModelServer):
    """The model deployment with the sleeping model."""

    model_class = SleepingModel

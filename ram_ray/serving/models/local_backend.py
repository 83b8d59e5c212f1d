"""Models in this process, without Ray: for tests, and for an app of your own."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from ram_ray.serving.config import ServeConfig
from ram_ray.serving.models.backend import ModelCard, Prediction, Selection, prediction_of
from ram_ray.serving.models.loaded_model import LoadedModel


class LocalBackend:
    """Every model of the configuration, loaded when the app starts; one device, one thread."""

    def __init__(self, config: ServeConfig) -> None:
        self._config = config
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._models: dict[str, LoadedModel] = {}

    async def start(self) -> None:
        """Load the models.

        Raises:
            ConfigError: a model cannot be loaded.
        """
        for name in self._config.models:
            self._models[name] = await asyncio.to_thread(
                LoadedModel, name, self._config, self._executor
            )

    async def close(self) -> None:
        """End the model thread."""
        self._executor.shutdown(wait=False, cancel_futures=True)

    async def card(self, model: str) -> ModelCard:
        """Return a model's card."""
        return self._models[model].card

    async def tag(
        self, model: str, pixels: np.ndarray, selection: Selection, deadline: float
    ) -> Prediction:
        """Return the tags of one image; the caller's own timeout keeps the deadline."""
        del deadline
        return prediction_of(await self._models[model].tag(pixels, selection))

    async def not_ready_reason(self) -> str:
        """Return "" once the models are loaded."""
        return "" if self._models else "The models are loading."

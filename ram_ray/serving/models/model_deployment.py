"""The model processes of Ray Serve: each loads the models asked of it and batches their calls."""

import asyncio
import dataclasses
import logging
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import torch
from ray import serve

from ram_ray.serving.config import ServeConfig
from ram_ray.serving.log import note, set_up_log
from ram_ray.serving.models.backend import ImageCall, ModelCard, Outcome
from ram_ray.serving.models.loaded_model import LoadedModel
from ram_ray.serving.models.scaling import DEMAND

_log = logging.getLogger(__name__)


class ModelServer:
    """One process, one device; the default model is loaded before it is ready."""

    model_class = LoadedModel

    def __init__(self, config: ServeConfig) -> None:
        set_up_log(config.log_level)
        if config.threads:
            # Ray sets OMP_NUM_THREADS to the reserved CPUs, which are bookkeeping here.
            torch.set_num_threads(config.threads)
        self._config = config
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._demand = 0.0

        async def load(name: str) -> LoadedModel:
            return await asyncio.to_thread(self.model_class, name, self._config, self._executor)

        # Serve drops the least used model above this number and routes calls by loaded models.
        self._load: Any = serve.multiplexed(max_num_models_per_replica=config.loaded_models)(load)

    async def reconfigure(self, user_config: dict[str, Any]) -> None:
        """Take new `thresholds` without a restart; Serve also calls it before a first request.

        Raises:
            ConfigError: the default model cannot be loaded, or knows no such tag.
        """
        thresholds = tuple(user_config["thresholds"])
        self._config = dataclasses.replace(self._config, thresholds=thresholds)
        model = await self._load(self._config.models[0])
        model.use_thresholds(self._config.threshold_of())
        note("reload", model=self._config.models[0], thresholds_of_own=len(thresholds))

    async def card(self, model: str) -> ModelCard:
        """Return a model's facts and vocabulary."""
        return (await self._load(model)).card

    async def tag(
        self, model: str, images: Sequence[ImageCall], alone: bool, demand: float
    ) -> list[Outcome]:
        """Return the tags of each image; bad images are outcomes too.

        Args:
            model: one of `config.models`.
            images: calls of other ingress processes may join them in the model.
            alone: the only image of the call is to be alone in the model too.
            demand: images that this call stands for: its own, and a share of those that its
                ingress holds back while calls are under way.
        """
        self._demand += demand
        try:
            loaded = await self._load(model)
            calls = (loaded.tag(pixels, selection, alone=alone) for pixels, selection in images)
            return list(await asyncio.gather(*calls))
        except torch.AcceleratorError:
            # The device's context is broken for good. Dying says so to everyone: callers retry
            # elsewhere, and Serve starts a new process.
            _log.exception("The accelerator failed: ending this process.")
            os._exit(1)
        finally:
            self._demand -= demand

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """Return what `scaling.replicas_for_demand` decides by; Serve asks every few seconds."""
        return {DEMAND: self._demand}

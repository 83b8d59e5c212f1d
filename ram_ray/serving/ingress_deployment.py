"""The ingress processes of Ray Serve: in a file of their own, so that they never import torch."""

from fastapi import FastAPI
from ray import serve
from ray.serve.handle import DeploymentHandle

from ram_ray.serving.app import create_app
from ram_ray.serving.config import ServeConfig
from ram_ray.serving.guard.draining import Draining
from ram_ray.serving.log import set_up_log
from ram_ray.serving.metrics import Metrics
from ram_ray.serving.models.serve_backend import ServeBackend


@serve.ingress()
class Ingress:
    """HTTP, limits and decoding; holds no model."""

    def __init__(self, model: DeploymentHandle, config: ServeConfig) -> None:
        set_up_log(config.log_level)
        self._config = config
        self._metrics = Metrics()
        self._draining = Draining()
        self._backend = ServeBackend(model, config, self._metrics)

    def __serve_build_asgi_app__(self) -> FastAPI:
        """Return the app; Serve calls it in the replica."""
        return create_app(
            self._config, self._backend, self._metrics, self._draining, sends_request_id=False
        )

    async def drain(self) -> int:
        """Take no new work from now on; return how many requests are not answered yet."""
        self._draining.begin()
        return self._draining.num_accepted

    async def num_accepted(self) -> int:
        """Return how many requests are not answered yet."""
        return self._draining.num_accepted

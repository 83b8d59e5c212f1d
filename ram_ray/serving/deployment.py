"""The Serve application: a light ingress and the model processes, each scaled on its own.

A cluster's YAML names `ram_ray.serving.deployment:build_app` (deploy/serve.yaml); `ram-ray serve`
runs the same application on this machine.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

from ray import serve
from ray.serve import Application
from ray.serve.config import (
    AutoscalingConfig,
    AutoscalingPolicy,
    BackpressureConfig,
    RequestRouterConfig,
)
from ray.serve.schema import LoggingConfig

from ram_ray.options import build_config, flatten_settings
from ram_ray.serving.config import ServeConfig, check_access
from ram_ray.serving.guard.access import load_keys
from ram_ray.serving.ingress_deployment import Ingress
from ram_ray.serving.models.model_deployment import ModelServer
from ram_ray.serving.models.serve_backend import MODEL_DEPLOYMENT

_INGRESS_TARGET = 16  # requests of an ingress that is well used: most of them wait for the model
_LOOK_BACK_S = 10.5  # of autoscaling; Serve wants more than the 10 s between its reports
_HEALTH_PERIOD_S, _HEALTH_TIMEOUT_S = 1.0, 10.0
_INGRESS_HEALTH_TIMEOUT_S = 60.0
"""In a flood an ingress answers late: three times 10 s, and Serve stopped it with all that it had
accepted. A process that has died is noticed at once, whatever this says."""
_DRAIN_PERIOD_S = 0.5
_POLICY = "ram_ray.serving.models.scaling:replicas_for_demand"
_ROUTER = "ram_ray.serving.models.counting_router:CountingRouter"
_MOST_CALLS = 1_000


def build_app(args: Mapping[str, Any]) -> Application:
    """Return the application of a Serve config file; `args` holds the fields of ServeConfig.

    Raises:
        ConfigError: a setting is wrong, or others can reach the address and there are no keys.
    """
    # In a cluster the proxies' address is that of the config file, and others can reach it.
    settings = {"host": "0.0.0.0"} | flatten_settings({**args})
    config = build_config(ServeConfig, settings)
    check_access(config, load_keys(config.access))
    return application(config)


def application(config: ServeConfig, model_class: type[ModelServer] = ModelServer) -> Application:
    """Return the application, to be given to `serve.run`."""
    quiet = LoggingConfig(enable_access_log=False, log_level="WARNING")
    # Thresholds travel as user_config: changed in a cluster's file, they reach running processes.
    # (`serve.run` from Python always starts new ones.)
    fixed = dataclasses.replace(config, thresholds=())
    model = serve.deployment(
        name=MODEL_DEPLOYMENT,
        user_config={"thresholds": list(config.thresholds)},
        logging_config=quiet,
        max_constructor_retry_count=3,
        **_model_options(config),
    )(model_class).bind(fixed)
    limits, replicas = config.limits, config.replicas
    ingress = serve.deployment(
        name="ingress",
        logging_config=quiet,
        autoscaling_config=AutoscalingConfig(
            min_replicas=replicas.min_ingresses,
            max_replicas=replicas.max_ingresses,
            target_ongoing_requests=_INGRESS_TARGET,
            upscale_delay_s=replicas.upscale_delay_s,
            downscale_delay_s=replicas.downscale_delay_s,
            look_back_period_s=_LOOK_BACK_S,
        ),
        ray_actor_options={"num_cpus": replicas.cpus_per_ingress},
        # The ingress bounds what it accepts by itself, and says so in its own words; this only
        # keeps a flood from piling up in the proxies.
        max_ongoing_requests=2 * limits.max_pending_images,
        max_queued_requests=limits.max_pending_images,
        backpressure_config=BackpressureConfig(status_code=503, retry_after_s=1),
        max_surge_percent=replicas.surge_percent,
        graceful_shutdown_timeout_s=limits.request_timeout_s + limits.body_timeout_s,
        graceful_shutdown_wait_loop_s=_DRAIN_PERIOD_S,
        health_check_period_s=_HEALTH_PERIOD_S,
        health_check_timeout_s=_INGRESS_HEALTH_TIMEOUT_S,
    )(Ingress)
    return ingress.bind(model, fixed)


def _model_options(config: ServeConfig) -> dict[str, Any]:
    replicas = config.replicas
    return {
        "autoscaling_config": AutoscalingConfig(
            min_replicas=replicas.min_replicas,
            max_replicas=replicas.max_replicas,
            # a full batch in the model: below, there is room; above, images wait
            policy=AutoscalingPolicy(policy_function=_POLICY),
            target_ongoing_requests=config.batch_size,
            upscale_delay_s=replicas.upscale_delay_s,
            downscale_delay_s=replicas.downscale_delay_s,
            look_back_period_s=_LOOK_BACK_S,
        ),
        "ray_actor_options": {
            "num_cpus": replicas.cpus_per_replica,
            "num_gpus": replicas.gpus_per_replica,
        },
        "request_router_config": RequestRouterConfig(
            request_router_class=_ROUTER  # pyright: ignore[reportArgumentType]  Ray's, reads str
        ),
        # calls of up to `batch_size` images; each ingress has few under way
        "max_ongoing_requests": _MOST_CALLS,
        # Admission is the ingress's: refusing here would fail an accepted request's retry.
        "max_queued_requests": -1,
        "max_surge_percent": replicas.surge_percent,
        # no call outlives its request
        "graceful_shutdown_timeout_s": config.limits.request_timeout_s,
        "graceful_shutdown_wait_loop_s": _DRAIN_PERIOD_S,
        "health_check_period_s": _HEALTH_PERIOD_S,
        "health_check_timeout_s": _HEALTH_TIMEOUT_S,
    }

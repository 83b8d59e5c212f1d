"""How many model processes there should be: by the images that wait for one, not by calls.

A call of an ingress holds up to a batch of images, and more wait in the ingress for the next call.
"""

from typing import Any

from ray.serve.config import AutoscalingContext

DEMAND = "demand_images"
"""Statistic of a model process: images that its calls stand for, those held back included."""


def replicas_for_demand(context: AutoscalingContext) -> tuple[float, dict[str, Any]]:
    """Return as many processes as the demand fills; Serve applies bounds and delays.

    The target of one process is `target_ongoing_requests` of its deployment, here in images.
    """
    running = context.current_num_replicas
    reported = (context.aggregated_metrics or {}).get(DEMAND, {})
    if not running or not reported or context.config is None:  # starting: not for us to change
        return context.target_num_replicas, {}
    demand = sum(reported.values()) * running / len(reported)
    return demand / context.config.get_target_ongoing_requests(), {}

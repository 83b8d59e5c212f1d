"""Serve's own router of calls, which in addition says how many replicas it knows.

Serve's controller keeps routers up to date. `serve.status()`, the other way to learn it, cost more
CPU once a second than a small model's tagging (benchmarks/results, serving).
"""

from typing import Any

from ray.serve._private.request_router.pow_2_router import PowerOfTwoChoicesRequestRouter


class CountingRouter(PowerOfTwoChoicesRequestRouter):
    """Serve sends this class by value: what it shares with its process, it has to import."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what Serve gives."""
        super().__init__(*args, **kwargs)
        from ram_ray.serving.models.replica_count import register

        register(self._deployment_id.name, self)

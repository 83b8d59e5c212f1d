"""What Prometheus reads at /metrics, of one ingress process."""

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """Counters in a registry of their own, so that several apps can live in one process."""

    def __init__(self) -> None:
        registry = self._registry = CollectorRegistry()
        self.requests = Counter(
            "ram_ray_requests",
            "Answered requests.",
            ["route", "status"],
            registry=registry,
        )
        self.request_seconds = Histogram(
            "ram_ray_request_seconds",
            "From the first byte of a request to the last of its answer.",
            ["route"],
            buckets=_SECONDS,
            registry=registry,
        )
        self.images = Counter(
            "ram_ray_images",
            "Images by outcome: ok, or an error code.",
            ["outcome"],
            registry=registry,
        )
        self.pending_images = Gauge(
            "ram_ray_pending_images", "Accepted and unanswered images.", registry=registry
        )
        self.model_calls = Counter(
            "ram_ray_model_calls",
            "Calls to model processes; each holds one image or several.",
            registry=registry,
        )
        self.replica_retries = Counter(
            "ram_ray_replica_retries",
            "Calls repeated because their model process died.",
            registry=registry,
        )

    def exposition(self) -> bytes:
        """Return everything in Prometheus' text format."""
        return generate_latest(self._registry)

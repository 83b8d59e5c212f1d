"""Health, readiness and metrics: what load balancers and Prometheus ask."""

from fastapi import APIRouter, Response
from prometheus_client import CONTENT_TYPE_LATEST

from ram_ray.serving.api import Health, Readiness
from ram_ray.serving.context import Context

router = APIRouter(tags=["operation"])


@router.get("/healthz")
async def health() -> Health:
    """Answer while this process lives; ask /readyz whether it can serve."""
    return Health()


@router.get("/readyz", responses={503: {"model": Readiness}})
async def readiness(context: Context, response: Response) -> Readiness:
    """Say whether a request would be served now; 503 while it would not."""
    reason = context.draining.reason or await context.backend.not_ready_reason()
    response.status_code = 503 if reason else 200
    return Readiness(ready=not reason, reason=reason)


@router.get("/metrics", response_class=Response)
async def metrics(context: Context) -> Response:
    """Give Prometheus the numbers of this ingress process (ours are `ram_ray_*`)."""
    return Response(context.metrics.exposition(), media_type=CONTENT_TYPE_LATEST)

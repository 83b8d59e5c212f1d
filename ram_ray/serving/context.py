"""What every route works with, made once per ingress process."""

from dataclasses import dataclass, field
from typing import Annotated

from fastapi import Depends, Request

from ram_ray.config import StoreConfig
from ram_ray.serving.config import JobsConfig, ServeConfig
from ram_ray.serving.guard.access import Access
from ram_ray.serving.guard.admission import Admission
from ram_ray.serving.guard.decoding import DecoderPool
from ram_ray.serving.guard.draining import Draining
from ram_ray.serving.guard.url_input import UrlFetcher
from ram_ray.serving.jobs.job_progress import ProgressReader
from ram_ray.serving.jobs.ray_jobs import RayJobs
from ram_ray.serving.metrics import Metrics
from ram_ray.serving.models.backend import Backend


@dataclass(frozen=True, kw_only=True, slots=True)
class ServingContext:
    """The parts of one ingress process."""

    config: ServeConfig
    backend: Backend
    access: Access
    admission: Admission
    decoders: DecoderPool
    urls: UrlFetcher
    metrics: Metrics
    draining: Draining = field(default_factory=Draining)
    jobs: RayJobs = field(default_factory=lambda: RayJobs(JobsConfig()))
    progress: ProgressReader = field(default_factory=lambda: ProgressReader(StoreConfig()))


async def _context_of(request: Request) -> ServingContext:
    # async: FastAPI would send a plain function to a thread, a sixth of an ingress's CPU time
    return request.app.state.context


Context = Annotated[ServingContext, Depends(_context_of)]
"""Parameter of a route: `async def route(context: Context)`."""

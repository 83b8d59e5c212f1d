"""The HTTP application over any Backend: routers, the gate before them, errors behind them.

A new area is a router in a file of its own and one line in ROUTERS.
"""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware

from ram_ray import __version__
from ram_ray.serving.api import ErrorDetail, RequestErrorCode
from ram_ray.serving.config import ServeConfig
from ram_ray.serving.context import ServingContext
from ram_ray.serving.guard.access import Access, load_keys
from ram_ray.serving.guard.admission import Admission
from ram_ray.serving.guard.decoding import DecoderPool
from ram_ray.serving.guard.draining import Draining
from ram_ray.serving.guard.gate import Gate
from ram_ray.serving.guard.url_input import UrlFetcher
from ram_ray.serving.http import azure, rekognition
from ram_ray.serving.http import health as health_routes
from ram_ray.serving.http import jobs as job_routes
from ram_ray.serving.http import models as model_routes
from ram_ray.serving.http import page as page_routes
from ram_ray.serving.http import tag as tag_routes
from ram_ray.serving.http.leniency import Leniency
from ram_ray.serving.http.openapi import describe
from ram_ray.serving.jobs.job_progress import ProgressReader
from ram_ray.serving.jobs.ray_jobs import RayJobs
from ram_ray.serving.metrics import Metrics
from ram_ray.serving.models.backend import Backend
from ram_ray.serving.problems import ErrorShape, Problem, problem_response

ROUTERS: tuple[APIRouter, ...] = (
    tag_routes.router,
    model_routes.router,
    health_routes.router,
    rekognition.router,
    azure.router,
    job_routes.router,
    page_routes.router,
)

ERROR_SHAPES: dict[tuple[str, str], ErrorShape] = {
    ("POST", "/"): rekognition.error_response,
    ("POST", azure.ANALYZE): azure.error_response,
    ("POST", azure.ANALYZE_V32): azure.error_response,
    ("POST", azure.TAG): azure.error_response,
}
"""How errors of these routes look; everywhere else they are an ErrorResponse."""

TAGGING = (("POST", "/v1/tag"), *ERROR_SHAPES)
"""Routes whose requests bring images, refused first when there is too much to do."""

_PREFLIGHT_S = 3_600  # a browser asks again whether an origin may call


def create_app(
    config: ServeConfig,
    backend: Backend,
    metrics: Metrics | None = None,
    draining: Draining | None = None,
    *,
    sends_request_id: bool = True,
) -> FastAPI:
    """Return the application; its lifespan starts and closes the backend.

    Args:
        config: what to serve, within which limits.
        backend: where the models are.
        metrics: counters that the backend shares; None: new ones.
        draining: told when the end begins; None: by nobody.
        sends_request_id: False where Serve does.

    Raises:
        ConfigError: the API keys cannot be read.
    """
    context = _context(config, backend, metrics or Metrics(), draining or Draining())
    app = FastAPI(
        title="ram-ray",
        version=__version__,
        summary="Tags of images, by the Recognize Anything Model family.",
        lifespan=_lifespan,
        docs_url=None,  # FastAPI's pages load scripts from elsewhere
        redoc_url=None,
    )
    app.state.context = context
    app.state.error_shapes = ERROR_SHAPES
    for router in ROUTERS:
        app.include_router(router)
    describe(app)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(RequestValidationError, _on_validation_error)
    _add_middleware(app, context, sends_request_id=sends_request_id)
    return app


def _context(
    config: ServeConfig, backend: Backend, metrics: Metrics, draining: Draining
) -> ServingContext:
    admission = Admission(config.limits)
    metrics.pending_images.set_function(lambda: admission.pending_images)
    return ServingContext(
        config=config,
        backend=backend,
        access=Access(config, load_keys(config.access)),
        admission=admission,
        decoders=DecoderPool(config.replicas.num_decoders, config.decode),
        urls=UrlFetcher(config.urls, admission, config.decode.max_image_bytes),
        jobs=RayJobs(config.jobs),
        progress=ProgressReader(config.jobs.store),
        metrics=metrics,
        draining=draining,
    )


@asynccontextmanager
async def _lifespan(app: FastAPI) -> AsyncIterator[None]:
    context: ServingContext = app.state.context
    await context.backend.start()
    yield
    await context.backend.close()
    context.decoders.close()


def _add_middleware(app: FastAPI, context: ServingContext, *, sends_request_id: bool) -> None:
    """Put what every request passes before the routes; the last one added is passed first."""
    access = context.config.access
    app.add_middleware(
        Gate,
        access=context.access,
        admission=context.admission,
        limits=context.config.limits,
        draining=context.draining,
        metrics=context.metrics,
        tagging=TAGGING,
        sends_request_id=sends_request_id,
    )
    if access.allowed_origins:
        app.add_middleware(
            CORSMiddleware,
            allow_origins=access.allowed_origins,
            allow_methods=["GET", "HEAD", "POST"],
            allow_headers=["*"],
            expose_headers=["X-Request-ID", "Retry-After"],
            max_age=_PREFLIGHT_S,
        )
    app.add_middleware(Leniency)


_CODES = {
    404: RequestErrorCode.NO_SUCH_RESOURCE,
    405: RequestErrorCode.METHOD_NOT_ALLOWED,
    413: RequestErrorCode.BODY_TOO_LARGE,
    415: RequestErrorCode.UNSUPPORTED_MEDIA_TYPE,
}
"""Codes of what the framework itself refuses; anything else of it is a malformed request."""


async def _on_http_exception(request: Request, error: Exception) -> JSONResponse:
    if isinstance(error, Problem):
        return problem_response(error, request)
    if not isinstance(error, HTTPException):
        raise AssertionError(f"registered for HTTPException, got {error!r}")
    code = _CODES.get(error.status_code, RequestErrorCode.INVALID_REQUEST)
    response = problem_response(Problem(code, str(error.detail)), request)
    response.headers.update(error.headers or {})  # Allow, of 405
    return response


async def _on_validation_error(request: Request, error: Exception) -> JSONResponse:
    if not isinstance(error, RequestValidationError):
        raise AssertionError(f"registered for RequestValidationError, got {error!r}")
    return problem_response(invalid_request(error), request)


def invalid_request(error: RequestValidationError) -> Problem:
    """Return the problem that names each wrong field; never their values, which may be long."""
    details = [
        ErrorDetail(field=".".join(str(part) for part in found["loc"]), message=found["msg"])
        for found in error.errors()
    ]
    first = details[0]
    return Problem(
        RequestErrorCode.INVALID_REQUEST, f"{first.field}: {first.message}", details=details[:20]
    )

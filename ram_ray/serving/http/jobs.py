"""/v1/jobs: tagging whole folders and buckets on the cluster. Off unless the operator allows it."""

import asyncio
import re
from collections.abc import Callable
from typing import TypeVar

from fastapi import APIRouter, Request

from ram_ray.errors import UnreachableError
from ram_ray.serving.api import ErrorDetail, ErrorResponse, RequestErrorCode
from ram_ray.serving.config import JobsConfig
from ram_ray.serving.context import Context, ServingContext
from ram_ray.serving.http.tagging import model_name
from ram_ray.serving.job_api import Job, JobList, JobPlan, JobPlanRequest, JobRequest
from ram_ray.serving.job_locations import allowed_location
from ram_ray.serving.jobs.counted_source import CountedSource, count_source
from ram_ray.serving.problems import Problem
from ram_ray.storage.listing import is_table

T = TypeVar("T")

router = APIRouter(
    tags=["jobs"],
    responses={"4XX": {"model": ErrorResponse}, 503: {"model": ErrorResponse}},
)


@router.post("/v1/jobs", status_code=201)
async def start_job(body: JobRequest, request: Request, context: Context) -> Job:
    """Start tagging a folder or bucket; answers at once, the job goes on by itself."""
    config = _enabled(context)
    checked = body.model_copy(
        update={
            "source": _allowed("source", body.source, config.sources),
            "output": _allowed("output", body.output, config.outputs),
            "model": model_name(context.config, body.model),
        }
    )
    _check_texts(checked)
    client = request.scope["state"]["client"]
    job_id = await _in_thread(context, lambda: context.jobs.submit(checked, client))
    return await _in_thread(context, lambda: context.jobs.get(job_id))


@router.post("/v1/jobs/plan")
async def plan_job(body: JobPlanRequest, context: Context) -> JobPlan:
    """Count what a job would read, before it is started."""
    config = _enabled(context)
    source = _allowed("source", body.source, config.sources)
    _check_texts(body)

    def count() -> CountedSource:
        return count_source(
            source,
            config.store,
            include=body.include,
            exclude=body.exclude,
            seconds=config.timeout_s / 2,
        )

    try:
        found = await _in_thread(context, count)
    except UnreachableError:
        raise Problem(
            RequestErrorCode.INVALID_REQUEST,
            "source cannot be listed.",
            details=[ErrorDetail(field="source", message="cannot be listed")],
        ) from None
    price = config.price_per_million
    return JobPlan(
        num_images=found.num_images,
        num_bytes=found.num_bytes,
        is_complete=found.is_complete,
        price=None if price is None else found.num_images * price / 1e6,
        currency=config.currency,
    )


@router.get("/v1/jobs")
async def list_jobs(context: Context) -> JobList:
    """Return the newest jobs that were started here, and where a new one may read and write."""
    config = context.config.jobs
    jobs: list[Job] = []
    if config.enabled:
        jobs = await _in_thread(
            context, lambda: [_with_progress(context, job) for job in context.jobs.newest()]
        )
    return JobList(
        enabled=config.enabled,
        sources=list(config.sources),
        outputs=list(config.outputs),
        jobs=jobs,
    )


@router.get("/v1/jobs/{job_id}")
async def get_job(job_id: str, context: Context) -> Job:
    """Return one job: its status, how far it is, and where its results are."""
    _enabled(context)
    return await _in_thread(
        context, lambda: _with_progress(context, context.jobs.get(_job_id(job_id)))
    )


@router.post("/v1/jobs/{job_id}/cancel")
async def cancel_job(job_id: str, context: Context) -> Job:
    """Ask a job to end; what it has committed stays, and a new job with its output resumes it."""
    _enabled(context)

    def stop() -> Job:
        context.jobs.stop(_job_id(job_id))
        return _with_progress(context, context.jobs.get(job_id))

    return await _in_thread(context, stop)


def _enabled(context: ServingContext) -> JobsConfig:
    if not context.config.jobs.enabled:
        raise Problem(
            RequestErrorCode.JOBS_DISABLED,
            "Jobs are off; the operator switches them on by naming jobs.sources and jobs.outputs.",
        )
    return context.config.jobs


def _allowed(field: str, url: str, prefixes: tuple[str, ...]) -> str:
    location = allowed_location(url, prefixes)
    if location is None:
        raise Problem(
            RequestErrorCode.LOCATION_NOT_ALLOWED,
            f"{field} must lie below one of: {', '.join(prefixes)}.",
            details=[ErrorDetail(field=field, message="not a location that this server allows")],
        )
    if field == "source" and (is_table(location) or "{" in location):
        # its rows may name any place that the server can read
        raise Problem(
            RequestErrorCode.LOCATION_NOT_ALLOWED,
            f"{field} must be a folder or a prefix: lists and tables are not taken from requests.",
            details=[ErrorDetail(field=field, message="a list, a table or a pattern")],
        )
    return location


def _job_id(given: str) -> str:
    """Return an id that is safe as part of an address."""
    if not re.fullmatch(r"ram-ray-[0-9a-z]{1,32}", given):
        raise Problem(RequestErrorCode.NO_SUCH_RESOURCE, "There is no such job.")
    return given


def _check_texts(request: JobRequest | JobPlanRequest) -> None:
    """Refuse what a line of options cannot carry unchanged."""
    for field in ("tags", "include", "exclude"):
        for text in getattr(request, field, None) or ():
            if not text.isprintable():
                raise Problem(
                    RequestErrorCode.INVALID_REQUEST,
                    f"{field}: a text holds characters that cannot be printed.",
                    details=[ErrorDetail(field=field, message="must be printable")],
                )


def _with_progress(context: ServingContext, job: Job) -> Job:
    progress = context.progress.read(job.output)
    return job.model_copy(
        update={
            "num_images": progress.planned,
            "num_tagged": progress.tagged,
            "num_quarantined": progress.quarantined,
        }
    )


async def _in_thread(context: ServingContext, work: Callable[[], T]) -> T:
    """Return the result of blocking calls, bounded in time; the thread may outlast it."""
    seconds = context.config.jobs.timeout_s
    try:
        return await asyncio.wait_for(asyncio.to_thread(work), seconds)
    except TimeoutError:
        raise Problem(
            RequestErrorCode.JOBS_UNAVAILABLE,
            f"The cluster's job server did not answer within {seconds:g} s.",
            retry_after_s=10,
        ) from None

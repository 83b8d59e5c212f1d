"""What the jobs part of the API takes and gives.

    POST /v1/jobs/plan         count first            JobPlanRequest -> JobPlan
    POST /v1/jobs              start a tagging job    JobRequest -> Job, 201
    GET  /v1/jobs              this server's jobs     JobList
    GET  /v1/jobs/{id}         one of them            Job
    POST /v1/jobs/{id}/cancel  end it                 Job

Codes besides the usual ones: jobs_disabled and location_not_allowed (403), conflict (409: another
job is writing there), jobs_unavailable (503: the cluster's job server does not answer).
"""

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from ram_ray.serving.api import MAX_TAGS, ModelName, Score, TagName

JobStatus = Literal["pending", "running", "succeeded", "failed", "stopped"]
Location = Annotated[str, Field(min_length=1, max_length=1_000)]
Glob = Annotated[str, Field(min_length=1, max_length=200)]


class JobRequest(BaseModel):
    """A run of `ram-ray tag SOURCE OUTPUT` on the cluster."""

    model_config = ConfigDict(extra="forbid")

    source: Location = Field(description="Folder or s3://bucket/prefix, below an allowed prefix.")
    output: Location = Field(description="Where its results go; a run there is resumed.")
    model: ModelName | None = Field(
        default=None, description="A model of /v1/models; default: the first."
    )
    tags: list[TagName] | None = Field(default=None, min_length=1, max_length=MAX_TAGS)
    threshold: Score | None = None
    score_floor: Score | None = None
    top_k: int | None = Field(default=None, ge=1, le=10_000)
    include: list[Glob] | None = Field(default=None, min_length=1, max_length=100)
    exclude: list[Glob] | None = Field(default=None, min_length=1, max_length=100)


class JobPlanRequest(BaseModel):
    """What to count before a job is started."""

    model_config = ConfigDict(extra="forbid")

    source: Location
    include: list[Glob] | None = Field(default=None, min_length=1, max_length=100)
    exclude: list[Glob] | None = Field(default=None, min_length=1, max_length=100)


class JobPlan(BaseModel):
    """What a job would read, and what that costs where the operator has said a price."""

    num_images: int = Field(description="Those in tars and tables too.")
    num_bytes: int
    is_complete: bool = Field(description="False: the time was up, and there are more.")
    price: float | None = Field(description="Null without `jobs.price_per_million`.")
    currency: str


class Job(BaseModel):
    """One tagging job."""

    id: str
    status: JobStatus
    message: str = Field(description="Why it failed, in a sentence; empty otherwise.")
    source: str
    output: str = Field(description="Where its results are; README, What you get.")
    model: str
    submitted_by: str = Field(description="Name of the API key, or the client's address.")
    submitted_at: datetime
    ended_at: datetime | None
    num_images: int | None = Field(description="Planned; null until the source is listed.")
    num_tagged: int = Field(description="In committed shards, as is num_quarantined.")
    num_quarantined: int


class JobList(BaseModel):
    """The newest jobs first, and where a new one may read and write."""

    enabled: bool
    sources: list[str]
    outputs: list[str]
    jobs: list[Job]

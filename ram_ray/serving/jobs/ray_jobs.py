"""Tagging jobs on the cluster, through Ray's job server."""

import json
import logging
import re
import shlex
import sys
import uuid
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, NoReturn

from ram_ray import exit_codes
from ram_ray.serving.api import RequestErrorCode
from ram_ray.serving.config import JobsConfig
from ram_ray.serving.job_api import Job, JobRequest, JobStatus
from ram_ray.serving.problems import Problem

_log = logging.getLogger(__name__)

KIND = "ram_ray_job"  # metadata key of the jobs that are ours
MOST_LISTED = 50
_ENDED = ("succeeded", "failed", "stopped")
_NOT_SETTINGS = {"source", "output"}


class RayJobs:
    """Blocking calls to the job server; its address is looked up when it is first needed."""

    def __init__(self, config: JobsConfig) -> None:
        self._config = config
        self._client: Any = None

    def submit(self, request: JobRequest, submitted_by: str) -> str:
        """Start a job and return its id; source, output and model of `request` are checked.

        Raises:
            Problem: conflict, jobs_unavailable.
        """
        for job in self.newest():
            if job.output == request.output and job.status not in _ENDED:
                raise Problem(
                    RequestErrorCode.CONFLICT,
                    f"Job {job.id} is writing to {job.output}; cancel it or choose another output.",
                )
        metadata = {
            KIND: "tag",
            "source": request.source,
            "output": request.output,
            "model": request.model or "",
            "submitted_by": submitted_by,
        }
        return self._call(
            "submit_job",
            submission_id=f"ram-ray-{uuid.uuid4().hex[:16]}",
            entrypoint=shlex.join(command_of(request, self._config)),
            entrypoint_num_cpus=self._config.entrypoint_num_cpus,
            metadata=metadata,
        )

    def newest(self) -> list[Job]:
        """Return our jobs, the newest first.

        Raises:
            Problem: jobs_unavailable.
        """
        found = [details for details in self._call("list_jobs") if KIND in (details.metadata or {})]
        found.sort(key=lambda details: details.start_time or 0, reverse=True)
        return [_job_of(details) for details in found[:MOST_LISTED]]

    def get(self, job_id: str) -> Job:
        """Return one of our jobs.

        Raises:
            Problem: no_such_resource, jobs_unavailable.
        """
        details = self._call("get_job_info", job_id)
        if KIND not in (details.metadata or {}):  # somebody else's, of the same cluster
            _no_such_job(job_id)
        return _job_of(details)

    def stop(self, job_id: str) -> None:
        """Ask for a job's end; one that has ended stays as it is.

        Raises:
            Problem: no_such_resource, jobs_unavailable.
        """
        self.get(job_id)
        self._call("stop_job", job_id)

    def _call(self, method: str, *arguments: Any, **options: Any) -> Any:
        try:
            if self._client is None:
                self._client = _connect(self._config.address or _address_of_this_cluster())
            return getattr(self._client, method)(*arguments, **options)
        except OSError as error:  # among them every error of the client's connection
            self._client = None  # the head may come back at another address
            _log.warning("Ray's job server does not answer %s: %s", method, error)
            raise _unavailable("does not answer") from error
        except RuntimeError as error:  # what the client makes of every refusal
            if "status code 404" in str(error) and arguments:
                _no_such_job(arguments[0])
            if "No available agent" in str(error):
                raise _unavailable(
                    "has no agent yet: it is still starting, or another Ray of its machine holds "
                    "the agent's port, 52365"
                ) from error
            _log.warning("Ray's job server refused %s: %s", method, error)
            raise _unavailable("refused the request; the server's log says why") from error


def command_of(request: JobRequest, config: JobsConfig) -> list[str]:
    """Return the command of a job: `ram-ray tag` with what the operator and the request set.

    It is the same run as jobs/tag_bucket.py, which the installed package does not hold.
    """
    store = {
        "store.endpoint_url": config.store.endpoint_url,
        "store.region": config.store.region,
        "store.anonymous": config.store.anonymous or None,
    }
    given = request.model_dump(exclude=_NOT_SETTINGS) | store
    command = [sys.executable, "-m", "ram_ray", "tag", request.source, request.output]
    command += ["--address", "auto", "--json"]
    for setting in config.settings:
        command += ["--set", setting]
    for name, value in given.items():
        if value is not None:
            # JSON is YAML: a list stays a list of texts, and is never taken for a file's name
            command += ["--set", f"{name}={json.dumps(value, ensure_ascii=False)}"]
    return command


def _connect(address: str) -> Any:
    from ray.job_submission import JobSubmissionClient

    return JobSubmissionClient(address)


def _address_of_this_cluster() -> str:
    """Return the http:// address of the job server of the Ray that this process is part of.

    Raises:
        Problem: jobs_unavailable: no Ray here, or one without a dashboard.
    """
    import ray
    from ray._private import ray_constants
    from ray.experimental.internal_kv import _internal_kv_get, _internal_kv_initialized

    # Ray's own look-up waits for 40 s where there is no dashboard, and RAY_ADDRESS misleads it.
    found = None
    if ray.is_initialized() and _internal_kv_initialized():
        found = _internal_kv_get(
            ray_constants.DASHBOARD_ADDRESS, namespace=ray_constants.KV_NAMESPACE_DASHBOARD
        )
    if not found:
        raise _unavailable("is not there: Ray runs without its dashboard (or set jobs.address)")
    return f"http://{found.decode()}"


def _job_of(details: Any) -> Job:
    metadata: Mapping[str, str] = details.metadata
    status: JobStatus = details.status.value.lower()
    message = ""
    if details.driver_exit_code == exit_codes.TOO_MANY_QUARANTINED:
        status = "succeeded"  # every image has its row; the exit code is the operator's alarm
    elif status == "failed":
        message = _reason(details.message or "", details.driver_exit_code)
    return Job(
        id=details.submission_id,
        status=status,
        message=message,
        source=metadata.get("source", ""),
        output=metadata.get("output", ""),
        model=metadata.get("model", ""),
        submitted_by=metadata.get("submitted_by", ""),
        submitted_at=_time(details.start_time) or datetime.fromtimestamp(0, UTC),
        ended_at=_time(details.end_time),
        num_images=None,
        num_tagged=0,
        num_quarantined=0,
    )


def _reason(message: str, exit_code: int | None) -> str:
    """Return the sentence that `ram-ray` ended with, out of the log's end that Ray keeps."""
    plain = re.sub(r"\x1b\[[0-9;]*[A-Za-z]", "", message)
    own = [line.strip() for line in plain.splitlines() if line.strip().startswith("ram-ray: ")]
    if own:
        return own[-1].removeprefix("ram-ray: ")
    how = "did not start" if exit_code is None else f"ended with exit code {exit_code}"
    return f"The job {how}; its log is on Ray's dashboard."


def _time(milliseconds: int | None) -> datetime | None:
    return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds else None


def _no_such_job(job_id: str) -> NoReturn:
    raise Problem(RequestErrorCode.NO_SUCH_RESOURCE, f"There is no job {job_id}.")


def _unavailable(how: str) -> Problem:
    return Problem(
        RequestErrorCode.JOBS_UNAVAILABLE,
        f"The cluster's job server {how}.",
        retry_after_s=10,
    )

"""Jobs through the door: off by default, bounded by the operator, and real on a real Ray."""

import json
import os
import subprocess
import sys
import tarfile
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.serving.app import create_app
from ram_ray.serving.config import AccessConfig, JobsConfig, ServeConfig
from ram_ray.serving.http.page import EXAMPLES
from ram_ray.serving.jobs.counted_source import count_source
from ram_ray.serving.models.local_backend import LocalBackend

ROOT = Path(__file__).parents[3]
NOBODY = "http://127.0.0.1:9"  # nothing listens there
JOBS = JobsConfig(sources=("s3://photos/2026",), outputs=("s3://tags",), address=NOBODY)
JOB = {"source": "s3://photos/2026/05", "output": "s3://tags/05"}


def client(jobs, **options):
    config = ServeConfig(jobs=jobs, **options)
    return TestClient(create_app(config, LocalBackend(config)), base_url="http://127.0.0.1:8000")


@pytest.fixture(scope="module")
def door():
    return client(JOBS)


def code(answer):
    return (answer.status_code, answer.json()["error"]["code"])


def test_jobs_are_off_by_default():
    door = client(JobsConfig())
    assert door.get("/v1/jobs").json() == {
        "enabled": False, "sources": [], "outputs": [], "jobs": []
    }  # fmt: skip
    assert code(door.post("/v1/jobs", json=JOB)) == (403, "jobs_disabled")
    assert code(door.get("/v1/jobs/ram-ray-1")) == (403, "jobs_disabled")
    assert code(door.post("/v1/jobs/ram-ray-1/cancel")) == (403, "jobs_disabled")


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"source": "s3://photos/2025"}, "source"),
        ({"source": "/etc"}, "source"),
        ({"source": "s3://photos/2026/list.csv"}, "source"),
        ({"source": "s3://photos/2026/t.parquet"}, "source"),
        ({"source": "s3://photos/2026/{0..9}.tar"}, "source"),
        ({"source": "http://169.254.169.254/latest"}, "source"),
        ({"source": "s3://photos/2026/../2025"}, "source"),
        ({"output": "s3://photos/2026"}, "output"),
        ({"output": "s3://tags/../photos"}, "output"),
    ],
)
def test_places_outside_the_prefixes_are_refused(door, change, field):
    answer = door.post("/v1/jobs", json=JOB | change)
    assert code(answer) == (403, "location_not_allowed")
    assert [detail["field"] for detail in answer.json()["error"]["details"]] == [field]


def test_a_plan_counts_before_a_job_is_started(tmp_path):
    photos = tmp_path / "photos"
    (photos / "05").mkdir(parents=True)
    for name in ("a.jpg", "05/b.PNG", "05/notes.txt"):
        (photos / name).write_bytes(b"x" * 10)
    places = {"sources": (str(photos),), "outputs": (str(tmp_path / "out"),), "address": NOBODY}
    door = client(JobsConfig(**places, price_per_million=500_000.0, currency="EUR"))
    plan = door.post("/v1/jobs/plan", json={"source": str(photos)}).json()
    assert plan == {
        "num_images": 2, "num_bytes": 20, "is_complete": True, "price": 1.0, "currency": "EUR"
    }  # fmt: skip
    below = {"source": f"{photos}/05", "include": ["*.txt"]}
    assert door.post("/v1/jobs/plan", json=below).json()["num_images"] == 1
    assert door.post("/v1/jobs/plan", json={"source": "/etc"}).status_code == 403
    absent = door.post("/v1/jobs/plan", json={"source": f"{photos}/absent"})
    assert code(absent) == (422, "invalid_request")
    free = client(JobsConfig(**places)).post("/v1/jobs/plan", json={"source": str(photos)})
    assert free.json()["price"] is None
    off = client(JobsConfig()).post("/v1/jobs/plan", json={"source": str(photos)})
    assert code(off) == (403, "jobs_disabled")


def test_pictures_in_tars_are_counted_as_they_are_tagged(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x" * 10)
    with tarfile.open(tmp_path / "s.tar", "w") as tar:
        for name in ("b.jpg", "c.jpg", "c.txt"):
            tar.add(tmp_path / "a.jpg", name)
    found = count_source(str(tmp_path), StoreConfig(), include=None, exclude=None, seconds=60)
    assert (found.num_images, found.num_bytes, found.is_complete) == (3, 30, True)


def test_a_plan_that_takes_too_long_says_so(tmp_path):
    (tmp_path / "a.jpg").write_bytes(b"x")
    found = count_source(str(tmp_path), StoreConfig(), include=None, exclude=None, seconds=-1.0)
    assert (found.num_images, found.is_complete) == (0, False)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"model": "/some/folder"}, (404, "unknown_model")),
        ({"device": "cuda"}, (422, "invalid_request")),
        ({"settings": ["model=/x"]}, (422, "invalid_request")),
        ({"tags": ["two\nlines"]}, (422, "invalid_request")),
        ({"tags": []}, (422, "invalid_request")),
        ({"threshold": 2}, (422, "invalid_request")),
        ({}, (503, "jobs_unavailable")),
    ],
)
def test_a_request_chooses_little_and_each_refusal_has_its_code(door, change, problem):
    answer = door.post("/v1/jobs", json=JOB | change)
    assert code(answer) == problem
    assert ("Retry-After" in answer.headers) == (problem[0] == 503)


@pytest.mark.parametrize(
    "job_id", ["raysubmit_1", "ram-ray-..", "ram-ray-1%2Fstop", "ram-ray-é%0a"]
)
def test_ids_that_are_not_ours_are_unknown(door, job_id):
    assert code(door.get(f"/v1/jobs/{job_id}")) == (404, "no_such_resource")


def test_a_form_of_another_site_cannot_start_a_job(door):
    body = json.dumps(JOB)
    simple = door.post("/v1/jobs", content=body, headers={"Content-Type": "text/plain"})
    assert simple.status_code == 422
    foreign = door.post("/v1/jobs", json=JOB, headers={"Origin": "https://evil.example"})
    assert code(foreign) == (403, "forbidden_origin")


def test_keys_guard_jobs(tmp_path):
    (tmp_path / "keys").write_text("me:secret\n")
    door = client(JOBS, access=AccessConfig(api_keys_file=str(tmp_path / "keys")))
    assert code(door.get("/v1/jobs")) == (401, "unauthorized")
    given = {"Authorization": "Bearer secret"}
    assert code(door.get("/v1/jobs", headers=given)) == (503, "jobs_unavailable")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sources": ("/in",)}, "outputs is"),
        ({"outputs": ("/out",)}, "outputs is"),
        ({"sources": ("in",), "outputs": ("/out",)}, "sources is 'in'"),
        ({"settings": ("top_k",)}, "--set is 'top_k'"),
        ({"timeout_s": 0}, "timeout_s is 0"),
    ],
)
def test_wrong_settings_are_refused(options, message):
    with pytest.raises(ConfigError, match=message):
        JobsConfig(**options)


@pytest.mark.slow
@pytest.mark.timeout(1300)
def test_jobs_run_fail_and_are_cancelled_on_ray(tmp_path_factory):
    folder = tmp_path_factory.mktemp("jobs")
    photos = folder / "photos"
    photos.mkdir()
    for path in EXAMPLES.glob("*.webp"):
        (photos / path.name).write_bytes(path.read_bytes())
    (photos / "broken.jpg").write_bytes(b"no picture")
    command = [sys.executable, "-m", "tests.serving.jobs_on_ray", str(folder)]
    ran = subprocess.run(
        command, cwd=ROOT, env=dict(os.environ), capture_output=True, text=True, timeout=1250
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    seen = json.loads(ran.stdout.splitlines()[-1])
    assert seen["started"]["source"] == str(photos)
    last = seen["seen"][-1]
    assert (last["status"], last["num_images"]) == ("succeeded", 6)
    assert (last["num_tagged"], last["num_quarantined"]) == (5, 1)
    assert seen["second"] == [409, "conflict"]
    rows = pq.read_table(folder / "out" / "done" / "tags").to_pylist()
    assert sorted(row["image_id"] for row in rows) == sorted(
        p.name for p in EXAMPLES.glob("*.webp")
    )
    assert max(len(row["tags"]) for row in rows) <= 3
    assert seen["failed"]["status"] == "failed"
    assert seen["failed"]["message"] == f"The source {photos}/none does not exist."
    assert (seen["cancel_status"], seen["cancelled"]["status"]) == (200, "stopped")
    assert seen["unknown"] == 404
    assert len(seen["listed"]["jobs"]) == 3

"""The command of a job: what a request says reaches the run unchanged, and nothing more."""

import shlex
import subprocess
import sys
from itertools import pairwise
from types import SimpleNamespace

import pytest
from typer.testing import CliRunner

from ram_ray.cli import app as cli
from ram_ray.config import StoreConfig
from ram_ray.options import merge_settings
from ram_ray.serving.config import JobsConfig
from ram_ray.serving.job_api import JobRequest
from ram_ray.serving.jobs.ray_jobs import RayJobs, _job_of, command_of
from ram_ray.serving.problems import STATUS, Problem
from ram_ray.tagging.config import TagConfig, tag_config
from ram_ray.tagging.summary import RunSummary

CONFIG = JobsConfig(
    sources=("/in",),
    outputs=("/out",),
    settings=("shard_rows=500", "top_k=9"),
    store=StoreConfig(endpoint_url="http://127.0.0.1:9000", region="eu-west-1", anonymous=True),
)


def config_of(request: JobRequest) -> TagConfig:
    """Return the settings that the command of this request gives to the pipeline."""
    words = shlex.split(shlex.join(command_of(request, CONFIG)))
    assert words[:4] == [sys.executable, "-m", "ram_ray", "tag"]
    settings = [word for flag, word in pairwise(words) if flag == "--set"]
    merged = merge_settings({"source": words[4], "output": words[5]}, settings=settings)
    return tag_config(merged)


def test_options_of_operator_and_request_reach_the_run():
    request = JobRequest(
        source="/in/a b", output="/out/x", model="ram-mini", tags=["dog", "red umbrella"],
        threshold=0.25, score_floor=0.125, top_k=3, include=["*.jpg"], exclude=["a*", "b*"],
    )  # fmt: skip
    config = config_of(request)
    assert (config.source, config.output, config.model) == ("/in/a b", "/out/x", "ram-mini")
    assert config.tags == ("dog", "red umbrella")
    assert (config.threshold, config.score_floor, config.top_k) == (0.25, 0.125, 3)
    assert (config.include, config.exclude) == (("*.jpg",), ("a*", "b*"))
    assert config.shard_rows == 500
    assert config.store == CONFIG.store


def test_operators_settings_hold_where_a_request_says_nothing():
    assert config_of(JobRequest(source="/in", output="/out")).top_k == 9


@pytest.mark.parametrize(
    "word",
    ["/etc/passwd", "tags.txt", "a,b", "; touch /tmp/pwned #", "$(id)", "`id`", "'", '"', "null",
     "007", "--debug", "x=y", "鱼", "🐟", "a\\nb", "{a: b}", "- x", "!!python/object:x"],
)  # fmt: skip
def test_any_word_stays_one_word(word, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tags.txt").write_text("secret\n")
    assert config_of(JobRequest(source="/in", output="/out", tags=[word])).tags == (word,)
    shown = subprocess.run(
        shlex.join(["printf", "%s", f"tags={word}"]), shell=True, capture_output=True, text=True
    )
    assert shown.stdout == f"tags={word}"


def test_command_is_one_that_the_command_line_takes(monkeypatch):
    seen = {}

    def tag_bucket(config, *, on_progress):
        seen["config"] = config
        return RunSummary(
            num_images=1, num_tagged=1, num_quarantined=0, num_skipped=0, num_shards=1,
            quarantined_by_code={}, wall_s=1.0, images_per_s=1.0, resumed=False,
            model_id="ram-mini", output=config.output, notes=(),
        )  # fmt: skip

    monkeypatch.setattr("ram_ray.tagging.pipeline.tag_bucket", tag_bucket)
    command = command_of(JobRequest(source="/in", output="/out", tags=["dog"]), CONFIG)
    result = CliRunner().invoke(cli.app, command[3:])
    assert result.exit_code == 0, result.output
    assert seen["config"].tags == ("dog",)
    assert seen["config"].address == "auto"


def details(status, *, message=None, exit_code=None, metadata=None):
    return SimpleNamespace(
        submission_id="ram-ray-1", status=SimpleNamespace(value=status), message=message,
        driver_exit_code=exit_code, metadata=metadata or {"source": "/in", "output": "/out"},
        start_time=1_700_000_000_000, end_time=None,
    )  # fmt: skip


def test_failure_is_told_in_the_commands_own_sentence():
    log = (
        "Job entrypoint command failed with exit code 5, last available logs:\n"
        "Traceback: secret\n\x1b[31mram-ray: There is no bucket photos.\x1b[0m\nmore\n"
    )
    job = _job_of(details("FAILED", message=log, exit_code=5))
    assert (job.status, job.message) == ("failed", "There is no bucket photos.")
    killed = _job_of(details("FAILED", message="exit code -9, logs: ...", exit_code=-9))
    assert killed.message == "The job ended with exit code -9; its log is on Ray's dashboard."


def test_too_many_quarantined_is_a_finished_job():
    job = _job_of(details("FAILED", message="exit code 3", exit_code=3))
    assert (job.status, job.message) == ("succeeded", "")


def test_a_job_server_that_is_not_there_is_a_typed_error():
    jobs = RayJobs(JobsConfig(sources=("/in",), outputs=("/out",), address="http://127.0.0.1:9"))
    with pytest.raises(Problem, match="does not answer") as caught:
        jobs.newest()
    assert caught.value.code == "jobs_unavailable"
    assert STATUS[caught.value.code] == 503

"""The Ray job: the same settings, summary and exit codes as the command."""

import json
from dataclasses import asdict

import pytest

from jobs import tag_bucket as job
from ram_ray.errors import UnreachableError
from ram_ray.tagging.summary import RunSummary


@pytest.fixture
def seen(monkeypatch):
    seen = {}

    def tag_bucket(config, *, on_progress):
        seen["config"] = config
        if config.source == "s3://nowhere":
            raise UnreachableError("There is no bucket nowhere.")
        seen["summary"] = RunSummary(
            num_images=10, num_tagged=9, num_quarantined=1, num_skipped=0, num_shards=1,
            quarantined_by_code={"empty": 1}, wall_s=1.0, images_per_s=10.0, resumed=False,
            model_id="ram-mini", output=config.output, notes=(),
        )  # fmt: skip
        return seen["summary"]

    monkeypatch.setattr(job, "tag_bucket", tag_bucket)
    return seen


def test_settings_reach_the_pipeline_and_the_summary_is_json(seen, capsys):
    code = job.main(["s3://b/p", "s3://b/t", "--set", "top_k=5", "--set", "max_error_rate=0.1"])
    assert code == 0
    config = seen["config"]
    assert (config.source, config.output, config.top_k) == ("s3://b/p", "s3://b/t", 5)
    assert config.address == "auto"
    assert json.loads(capsys.readouterr().out) == asdict(seen["summary"]) | {"notes": []}


def test_exit_codes_are_those_of_the_command(seen, capsys):
    assert job.main(["s3://b/p", "out"]) == 3  # one of ten is more than 5 %
    with pytest.raises(SystemExit) as end:
        job.main(["s3://nowhere", "out"])
    assert end.value.code == 5
    assert capsys.readouterr().err.strip() == "ram-ray: There is no bucket nowhere."

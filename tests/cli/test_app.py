"""The command as a person runs it: exit codes, one sentence on stderr, nothing heavy too early."""

import dataclasses
import json
import shutil
import subprocess
import sys
import time

import pytest
from PIL import Image
from typer.testing import CliRunner

import ram_ray.tagging.outputs.verification
import ram_ray.tagging.pipeline
import ram_ray.tagging.retrying.pipeline
from ram_ray.cli import app as cli
from ram_ray.errors import IncompleteRunError
from ram_ray.tagging import terminal
from ram_ray.tagging.outputs.verification import VerifyReport
from ram_ray.tagging.retrying.pipeline import RetrySummary
from ram_ray.tagging.summary import RunSummary

SUMMARY = RunSummary(
    num_images=100,
    num_tagged=90,
    num_quarantined=10,
    num_skipped=2,
    num_shards=1,
    quarantined_by_code={"empty": 10},
    wall_s=10.0,
    images_per_s=10.0,
    resumed=False,
    model_id="ram-mini",
    output="out",
    notes=("No GPU found: tagging on the CPU.",),
)


def run(*arguments):
    return CliRunner().invoke(cli.app, list(arguments))


def run_process(*arguments):
    return subprocess.run(
        [sys.executable, "-m", "ram_ray", *arguments], capture_output=True, text=True, check=False
    )


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "photo.jpg"
    Image.effect_noise((64, 48), 90).convert("RGB").save(path)
    return str(path)


@pytest.fixture
def tagged(monkeypatch):
    """Stand in for the pipeline: remember its config, return SUMMARY or raise what is set."""
    seen = {}

    def tag_bucket(config, *, on_progress=None):
        seen["config"] = config
        if "raise" in seen:
            raise seen["raise"]
        return SUMMARY

    monkeypatch.setattr(ram_ray.tagging.pipeline, "tag_bucket", tag_bucket)
    return seen


def test_options_reach_the_pipeline(tagged):
    result = run(
        "tag", "s3://b/p", "out", "--tags", "cat,dog", "--threshold", "0.4", "--include", "*.jpg",
        "--include", "*.png", "--endpoint-url", "http://127.0.0.1:9", "--anonymous",
        "--orientation", "apply", "--max-error-rate", "0.2", "--set", "decode.decode_timeout_s=5",
    )  # fmt: skip
    assert result.exit_code == 0, result.output
    config = tagged["config"]
    assert (config.source, config.output, config.tags) == ("s3://b/p", "out", ("cat", "dog"))
    assert (config.threshold, config.include) == (0.4, ("*.jpg", "*.png"))
    assert (config.store.endpoint_url, config.store.anonymous) == ("http://127.0.0.1:9", True)
    assert (config.decode.orientation, config.decode.decode_timeout_s) == ("apply", 5.0)
    assert (config.exclude, config.model) == ((), "ram-mini")


def test_summary_is_a_table_or_json(tagged):
    text = run("tag", "a", "out", "--max-error-rate", "1").stdout
    assert "10 (10 empty)" in text
    assert "10.0 images/s" in text
    assert "No GPU found" in text
    result = run("tag", "a", "out", "--max-error-rate", "1", "--json")
    assert json.loads(result.stdout) == dataclasses.asdict(SUMMARY) | {"notes": [SUMMARY.notes[0]]}


def test_a_call_with_nothing_left_to_do_has_no_speed(capsys):
    done = dataclasses.replace(SUMMARY, resumed=True, images_per_s=0.0)
    terminal.print_summary(done)
    shown = capsys.readouterr().out
    assert "10 s; all was done before" in shown
    assert "images/s" not in shown


def test_more_quarantined_than_allowed_is_exit_code_3(tagged):
    assert run("tag", "a", "out").exit_code == 3
    assert run("tag", "a", "out", "--max-error-rate", "0.1").exit_code == 0


def test_an_incomplete_run_is_one_sentence_and_exit_code_4(tagged):
    tagged["raise"] = IncompleteRunError("3 of 4 shards are not committed.")
    result = run("tag", "a", "out")
    assert result.exit_code == 4
    assert result.stderr == "ram-ray: 3 of 4 shards are not committed.\n"
    assert "Traceback" in run("tag", "a", "out", "--debug").stderr


def test_an_interrupted_run_says_how_to_resume(tagged):
    tagged["raise"] = KeyboardInterrupt()
    result = run("tag", "a", "out")
    assert result.exit_code == 130
    assert result.stderr.strip() == "Stopped; run the same command again to resume."


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["tag", "--nope"], 2, "No such option: --nope"),
        (["tag"], 2, "ram-ray: Say what to tag"),
        (["tag", "."], 2, "ram-ray: . holds many images: say where the results go"),
        (["tag", "s3://b/x.jpg"], 2, "say where the results go"),
        (["tag", "missing.jpg"], 5, "ram-ray: There is no file missing.jpg."),
        (["tag", "a", "out", "--set", "thresold=1"], 2, "did you mean threshold"),
        (["tag", "a", "out", "--device", "gpu"], 2, "device is 'gpu', but must be auto or cpu"),
        (["verify", "missing-folder"], 5, "ram-ray: There is no folder"),
        (["report", "missing-folder"], 5, "ram-ray: There is no folder"),
        (["plan", "a"], 2, "output is missing"),
        (["plan", "missing-folder", "out"], 5, "ram-ray: The source"),
        (["plan", "a", "out", "--sample", "-1"], 2, "Invalid value for '--sample'"),
        (["retry", "missing-folder"], 5, "ram-ray: There is no folder"),
        (["retry", "out", "--error", "emtpy"], 2, "error is 'emtpy', but must be one of"),
        (["retry", "out", "--set", "decode.orientation=apply"], 2, "decode.orientation"),
        (["retry", "out", "--set", "top_k=3"], 2, "top_k"),
        (["doctor", "--bucket", "photos"], 2, "--bucket is 'photos', but must be s3://"),
    ],
)
def test_wrong_usage_is_one_sentence_and_its_code(arguments, code, message, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    result = run(*arguments)
    assert result.exit_code == code
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output
    assert list(tmp_path.iterdir()) == []


def test_help_is_quick_and_loads_nothing_heavy():
    started = time.monotonic()
    probe = (
        "import sys; from ram_ray.cli import app as cli; import ram_ray.cli.flags\n"
        "try: cli.app(['tag', '--help'], prog_name='ram-ray')\n"
        "except SystemExit as end: assert end.code == 0\n"
        "print(sorted({'ray', 'torch', 'pyarrow', 'boto3', 'obstore'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
    assert "--threshold" in done.stdout
    assert time.monotonic() - started < 5  # about 0.5 s on an idle machine


def test_version_is_the_packages():
    assert run("--version").stdout == f"ram-ray {ram_ray.__version__}\n"


def test_one_photo_prints_tags_without_ray(photo):
    probe = (
        "import sys; from ram_ray.cli import app as cli\n"
        f"try: cli.app(['tag', {photo!r}, '--threshold', '0'], prog_name='ram-ray')\n"
        "except SystemExit as end: assert end.code == 0, end.code\n"
        "print('ray' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=True)
    lines = done.stdout.splitlines()
    assert lines[0].startswith(photo)
    assert lines[-1] == "False"
    scores = [float(line.split()[-1]) for line in lines[1:-1] if not line.startswith("Note:")]
    assert len(scores) > 1
    assert scores == sorted(scores, reverse=True)


def test_one_photo_as_json_is_what_the_tagger_says(photo):
    from ram_model import Tagger

    result = run("tag", photo, "--json", "--threshold", "0", "--top-k", "3")
    assert result.exit_code == 0, result.output
    found = json.loads(result.stdout)
    expected = Tagger.load("ram-mini", threshold=0.0, top_k=3).tag_file(photo)
    assert found["tags"] == expected.names
    assert found["scores"] == pytest.approx(expected.scores.tolist(), abs=1e-5)


@pytest.mark.parametrize(
    ("extra", "code", "message"),
    [
        (["--model", "nope"], 2, "There is no model 'nope'"),
        (["--tags", "word " * 90], 2, "too long for the text encoder"),
        (["--threshold", "word " * 90], 2, "threshold is"),
        (["--shard-rows", "5"], 2, "shard_rows is for runs"),
        (["--set", "store.region=x"], 2, "store.region is for runs"),
    ],
)
def test_one_photo_refuses_what_it_cannot_use(photo, extra, code, message):
    result = run("tag", photo, *extra)
    assert result.exit_code == code
    assert message in result.stderr


def test_a_broken_photo_is_one_sentence_with_its_reason(tmp_path):
    broken = tmp_path / "broken.jpg"
    broken.write_bytes(b"not a picture")
    result = run("tag", str(broken))
    assert result.exit_code == 3
    assert result.stderr.startswith(f"ram-ray: {broken}: The file starts like no image format")


def test_a_retry_is_a_table_or_json(monkeypatch):
    summary = RetrySummary(
        num_retried=5, num_tagged=3, num_quarantined=2, quarantined_by_code={"fetch_timeout": 2},
        output_tagged=98, output_quarantined=2, wall_s=1.0, resumed=True, output="out", notes=(),
    )  # fmt: skip
    seen = []

    def retry_quarantined(config, *, on_progress):
        seen.append(config)
        return summary

    monkeypatch.setattr(ram_ray.tagging.retrying.pipeline, "retry_quarantined", retry_quarantined)
    result = run("retry", "out", "--error", "fetch_timeout", "--error", "not_found",
                 "--set", "decode.max_image_bytes=9")  # fmt: skip
    assert result.exit_code == 0, result.output
    assert "5 (resumed)" in result.stdout
    assert "2 (2 fetch_timeout)" in result.stdout
    assert "98 tagged, 2 quarantined" in result.stdout
    assert seen[0].error == ("fetch_timeout", "not_found")
    assert seen[0].decode.max_image_bytes == 9
    result = run("retry", "out", "--json", "--max-error-rate", "0.01")
    assert result.exit_code == 3
    assert json.loads(result.stdout) == dataclasses.asdict(summary) | {"notes": []}


def test_a_plan_is_a_table_or_json(tmp_path, photo):
    (tmp_path / "in").mkdir()
    shutil.copy(photo, tmp_path / "in/a.jpg")
    where = (str(tmp_path / "in"), str(tmp_path / "out"))
    result = run("plan", *where, "--machine-price", "7200", "--device", "cpu")
    assert result.exit_code == 0, result.output
    for text in ("Images", "1 in 1 shard", "Per image", "images/s on a machine", "Cost", "machine"):
        assert text in result.stdout
    found = json.loads(run("plan", *where, "--sample", "0", "--device", "cpu", "--json").stdout)
    assert (found["num_images"], found["planned_before"], found["sample"]) == (1, True, None)


def test_an_interrupted_retry_is_said_by_verify(monkeypatch):
    report = VerifyReport(
        planned=1, tagged=0, quarantined=0, missing=1, duplicate=0, shards=1,
        uncommitted_shards=0, problems=("quarantine/x is not",), unfinished_retry=1,
    )  # fmt: skip
    monkeypatch.setattr(
        ram_ray.tagging.outputs.verification, "verify_output", lambda output, store: report
    )
    result = run("verify", "out")
    assert result.exit_code == 4
    assert "run `ram-ray retry` again to resume" in result.stdout


def test_verify_says_what_it_counted(monkeypatch):
    report = VerifyReport(
        planned=10, tagged=8, quarantined=1, missing=1, duplicate=0, shards=2,
        uncommitted_shards=1, problems=("tags/shard-000001.parquet is \x1b[31mgone",),
    )  # fmt: skip
    monkeypatch.setattr(
        ram_ray.tagging.outputs.verification, "verify_output", lambda output, store: report
    )
    result = run("verify", "out")
    assert result.exit_code == 4
    assert "Missing        1" in result.stdout
    assert "is ?[31mgone" in result.stdout  # names of a bucket do not drive the terminal
    assert json.loads(run("verify", "out", "--json").stdout)["ok"] is False


def test_module_and_script_are_the_same_command():
    assert run_process("--version").stdout == f"ram-ray {ram_ray.__version__}\n"
    assert run_process("nope").returncode == 2


def test_plan_takes_its_places_from_a_file(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "a.jpg").write_bytes(b"x")
    (tmp_path / "c.yaml").write_text(f"source: {tmp_path}/in\noutput: {tmp_path}/out\n")
    result = run("plan", "--config", str(tmp_path / "c.yaml"), "--sample", "0")
    assert result.exit_code == 0, result.output
    result = run("plan", str(tmp_path / "in"))
    assert result.exit_code == 2
    assert "output is missing" in result.output


@pytest.mark.parametrize(
    "module", ["outputs.verification", "outputs.rethresholding", "exports.pipeline"]
)
def test_commands_over_finished_runs_load_no_torch(module):
    loaded = "print({name for name in ('torch', 'ray') if name in sys.modules} or None)"
    code = f"import sys, ram_ray.tagging.{module}; {loaded}"
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "None"

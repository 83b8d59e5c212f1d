"""`ram-ray engine` as a person types it: on captions alone, so that no picture is looked at."""

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from ram_ray import exit_codes
from ram_ray.cli.app import app
from ram_ray.data_engine import undo
from tests.data_engine.inline import no_ray, run_inline
from tests.data_engine.photos import write_source

OFF = "generate: false\nlocate: false\ncluster: false\nfilter: false\n"


def call(*arguments: str) -> tuple[int, str, str]:
    ended = CliRunner().invoke(app, ["engine", *arguments], env={"COLUMNS": "300"})
    if ended.exception is not None and not isinstance(ended.exception, SystemExit):
        raise ended.exception
    return ended.exit_code, ended.stdout, ended.stderr


def test_run_explain_undo_diff(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_inline(monkeypatch)
    monkeypatch.setattr(undo, "ray_session", no_ray)
    write_source(tmp_path / "in", 6)
    config, out = tmp_path / "engine.yaml", str(tmp_path / "out")
    config.write_text(OFF, encoding="utf-8")
    code, printed, progress = call(
        "run", str(config), "--source", str(tmp_path / "in"), "--output", out
    )
    assert code == exit_codes.DONE
    assert re.search(r"Images +6 ", printed)
    assert "parse     1 of 1 shards" in progress
    _, printed, _ = call("explain", out, "photo-000.jpg")
    assert "caption 1: a black dog runs on the grass with a ball" in printed
    assert "+ dog  object, caption: a caption names it" in printed
    _, printed, _ = call("undo", out, "caption", "--json")
    undone = json.loads(printed)
    assert undone["num_changed"] == undone["num_decisions"] > 20
    _, printed, _ = call("diff", f"{out}@1", f"{out}@2", "--json")
    changed = json.loads(printed)
    assert (changed["gained"], changed["lost"]) == (0, undone["num_changed"])
    assert changed["by_rule"] == {"caption": undone["num_changed"]}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["run", "--output", "o"], "source is missing."),
        (["run", "--source", "s", "--output", "o", "--only", "sing"], "one of parse, generate"),
        (["run", "--source", "s", "--output", "o", "--set", "locator=onnx"], "given for onnx"),
        (["run", "--source", "s", "--output", "s/o"], "lies inside the source"),
        (["explain", "nowhere", "x"], "There is no folder"),
    ],
)
def test_wrong_usage_is_one_sentence(
    arguments: list[str], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, error = call(*arguments)
    assert code in (exit_codes.WRONG_USAGE, exit_codes.UNREACHABLE)
    assert message in error
    assert not (tmp_path / "o").exists()

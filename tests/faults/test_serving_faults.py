"""Kill model processes under load: no accepted request fails, and every answer is right."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.faults, pytest.mark.timeout(1_500)]

ROOT = Path(__file__).parents[2]


def run_scene(scene: str, seconds: float, kills: int, out: Path) -> dict[str, Any]:
    """Run a scene of benchmarks/serving.py in a process of its own, with a Ray of its own."""
    command = [sys.executable, "-m", "benchmarks.serving", "--scenes", scene, "--out", str(out)]
    command += ["--seconds", str(seconds), "--kills", str(kills)]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    return json.loads(out.read_text())[scene]  # Ray itself may write to stdout


def test_killed_model_processes_fail_no_request(
    request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    short = bool(request.config.getoption("--faults-short"))
    kills = 2 if short else 6
    scene = run_scene("kill", 3 if short else 10, kills, tmp_path / "kill.json")
    print(json.dumps(scene))
    assert scene["kills"] == kills
    assert scene["kill"]["failed"] == 0
    assert scene["kill"]["status_counts"]["200"] >= 10 * kills
    assert scene["refused_share"] <= 0.01


def run_door(scene: str, out: Path, *options: str) -> dict[str, Any]:
    """Run a scene of benchmarks/serving_door.py."""
    command = [sys.executable, "-m", "benchmarks.serving_door", "--scenes", scene]
    command += ["--out", str(out), *options]
    ended = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stderr
    print(out.read_text())
    return json.loads(out.read_text())[scene]


def test_a_signal_loses_no_accepted_request(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    short = bool(request.config.getoption("--faults-short"))
    options = ("--restarts", "1" if short else "3", "--seconds", "3" if short else "10")
    scene = run_door("ending", tmp_path / "ending.json", *options)
    assert scene["lost"] == 0
    assert scene["answered"] > 0


def test_hoarders_leave_others_their_share(request: pytest.FixtureRequest, tmp_path: Path) -> None:
    seconds = "3" if request.config.getoption("--faults-short") else "10"
    scene = run_door("hoarding", tmp_path / "hoarding.json", "--seconds", seconds)
    for name, row in scene.items():
        assert row["during"]["failed"] == 0, name
        assert row["kept"] >= 0.5, (name, row)  # rates on a shared machine; measured in results

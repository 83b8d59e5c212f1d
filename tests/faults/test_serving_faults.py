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

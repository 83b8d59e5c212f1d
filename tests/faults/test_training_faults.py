"""Kill workers and nodes, add nodes: the run goes on, and its weights are the undisturbed run's."""

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from ram_model import open_model
from ram_ray.training.pipeline import train
from tests.training.scene import assert_same_weights, config_of, write_scene

pytestmark = [pytest.mark.faults, pytest.mark.timeout(3_000)]

FULL = ("kill_worker", "kill_node", "add_node")
ELASTIC: dict[str, Any] = {
    "min_workers": 1,
    "max_workers": 2,
    # one CPU per node: one worker and its decoder, but not two workers
    "cpus_per_worker": 0.6,
    "cpus_per_decoder": 0.25,
    "num_decoders": 1,
    "resize_interval_s": 5.0,
    "start_timeout_s": 45.0,
    "micro_batch_size": 2,
    "checkpoint_steps": 4,
    "learning_rate": 1e-4,
}


def audited(folder: str) -> list[dict[str, Any]]:
    """Return the audit, one row per attempt and step, with the workers' samples in rank order."""
    steps: dict[tuple[int, int], dict[int, list[int]]] = {}
    for file in sorted(Path(folder).glob("*.jsonl")):
        for line in file.read_text().splitlines():
            row = json.loads(line)
            steps.setdefault((row["attempt"], row["step"]), {})[row["rank"]] = row["samples"]
    return [
        {"attempt": a, "step": s, "samples": [n for r in sorted(ranks) for n in ranks[r]]}
        for (a, s), ranks in sorted(steps.items())
    ]


def lineage_of(rows: list[dict[str, Any]], attempts: list[dict[str, Any]]) -> dict[int, list[int]]:
    """Return the samples of each step along the surviving weights.

    An attempt's steps from the one on at which the next attempt resumed are lost with it.
    """
    resumed = {attempt["number"]: attempt["first_step"] for attempt in attempts}
    kept = [row for row in rows if row["step"] < resumed.get(row["attempt"] + 1, 10**9)]
    assert len({row["step"] for row in kept}) == len(kept)
    return {row["step"]: row["samples"] for row in kept}


def test_training_survives_deaths_and_resizes_exactly(
    tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    short = request.config.getoption("--faults-short")
    events = FULL[:1] if short else FULL
    settings: dict[str, Any] = (
        write_scene(tmp_path / "disturbed") | ELASTIC | {"epochs": 12 if short else 40}
    )
    (tmp_path / "settings.json").write_text(json.dumps(settings))
    command = [sys.executable, "-m", "tests.faults.training_driver"]
    command += [str(tmp_path / "settings.json"), ",".join(events)]
    driver = subprocess.run(command, capture_output=True, text=True, timeout=2_400)
    assert driver.returncode == 0, driver.stdout + driver.stderr[-3000:]
    result = json.loads(driver.stdout.splitlines()[-1])
    print(driver.stdout)
    attempts = result["attempts"]
    workers = [attempt["workers"] for attempt in attempts]
    assert workers[0] == 2
    assert len(attempts) > len(events)
    if not short:
        assert 1 in workers[1:]
        assert workers[-1] == 2

    calm: dict[str, Any] = write_scene(tmp_path / "calm") | {
        "learning_rate": 1e-4,
        "epochs": settings["epochs"],
    }
    train(config_of(calm))
    rows = audited(settings["audit"])
    lineage = lineage_of(rows, attempts)
    assert lineage == {row["step"]: row["samples"] for row in audited(calm["audit"])}
    for epoch in range(settings["epochs"]):
        seen = Counter(n for step, ids in lineage.items() if step // 3 == epoch for n in ids)
        assert seen == Counter(range(22))
    again = sum(1 for row in rows) - len(lineage)
    assert abs(result["recomputed_steps"] - again) <= len(events)  # a step cut off by a kill
    print(json.dumps({"recomputed_steps": result["recomputed_steps"], "steps": result["steps"]}))
    found, expected = (open_model(f"{s['output']}/model").model for s in (settings, calm))
    assert_same_weights(dict(found.state_dict()), dict(expected.state_dict()))

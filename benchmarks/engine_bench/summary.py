"""Means and intervals over seeds, and every arm against parsing alone, paired by seed."""

import json
from pathlib import Path
from typing import Any

from benchmarks.engine_bench.measures import interval


def summarise(folder: Path) -> dict[str, Any]:
    """Return, per data set, arm and measure, mean and 95 % interval over the seeds there."""
    records: dict[str, list[dict[str, Any]]] = {}
    for path in sorted(folder.glob("*-seed-*.json")):
        record = json.loads(path.read_text())
        records.setdefault(record["dataset"], []).append(record)
    return {name: _of_dataset(runs) for name, runs in records.items()}


def _of_dataset(runs: list[dict[str, Any]]) -> dict[str, Any]:
    names = [name for name in runs[0]["arms"] if all(name in run["arms"] for run in runs)]
    return {
        "seeds": [run["seed"] for run in runs],
        "quick": any(run["quick"] for run in runs),
        "images": runs[0]["images"],
        "tags": runs[0]["tags"],
        "seconds_per_seed": [run["seconds"] for run in runs],
        "arms": {name: _of_arm([run["arms"][name] for run in runs]) for name in names},
        "against_parsing": {
            name: {
                key: interval(
                    [
                        _get(run["arms"][name], key) - _get(run["arms"]["parsing"], key)
                        for run in runs
                    ]
                )
                for key in ("labels.f1", "labels.recall", "model.map", "model.map_rare")
                if key.split(".")[0] in runs[0]["arms"][name]
            }
            for name in names
            if name != "parsing"
        },
    }


def _of_arm(runs: list[dict[str, Any]]) -> dict[str, Any]:
    keys = [f"{group}.{key}" for group, values in runs[0].items() for key in values]
    return {key: interval([_get(run, key) for run in runs]) for key in keys}


def _get(arm: dict[str, Any], key: str) -> float:
    group, name = key.split(".", 1)
    return arm[group][name]

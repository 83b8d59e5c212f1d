"""Means and intervals over seeds, and every arm against parsing alone, paired by seed."""

import json
from pathlib import Path
from typing import Any

from benchmarks.engine_bench.measures import interval

COMPARED = (
    "labels.f1",
    "labels.recall",
    *(
        f"{group}.{name}"
        for group in ("model", "full")
        for name in ("map", "map_rare", "cf1_at_0.5", "of1_at_0.5")
    ),
)
"""Measures of which differences to parsing are given; `full`: of whole models."""


def summarise(folder: Path) -> dict[str, Any]:
    """Return, per data set, arm and measure, mean and 95 % interval over the seeds there."""
    records: dict[str, dict[int, dict[str, Any]]] = {}
    for path in sorted(folder.glob("*-seed-*.json")):
        record = json.loads(path.read_text())
        runs = records.setdefault(record["dataset"], {})
        seed = record["seed"]
        runs[seed] = _joined(runs[seed], record) if seed in runs else record
    return {name: _of_dataset(list(runs.values())) for name, runs in records.items()}


def _joined(run: dict[str, Any], other: dict[str, Any]) -> dict[str, Any]:
    """Return both records of a seed: models on frozen features, and whole ones.

    Raises:
        ValueError: an arm of both has other labels in each.
    """
    first, second = (run, other) if "recipe" in other else (other, run)  # the whole ones second
    arms = dict(first["arms"])
    for name, found in second["arms"].items():
        mine = arms.get(name)
        if mine is not None and abs(mine["labels"]["f1"] - found["labels"]["f1"]) > 1e-9:
            raise ValueError(
                f"The labels of {name!r}, seed {run['seed']}, have changed since whole models were "
                "trained on them: run the benchmark with `--models full` again."
            )
        arms[name] = (mine or {}) | found
    seconds = round(first["seconds"] + second["seconds"], 1)
    return first | {"arms": arms, "seconds": seconds, "recipe": second["recipe"]}


def _of_dataset(runs: list[dict[str, Any]]) -> dict[str, Any]:
    names = [name for name in runs[0]["arms"] if all(name in run["arms"] for run in runs)]
    return {
        "seeds": [run["seed"] for run in runs],
        "seeds_with_models": [run["seed"] for run in runs if run.get("trained", True)],
        "seeds_with_whole_models": [run["seed"] for run in runs if "recipe" in run],
        "quick": any(run["quick"] for run in runs),
        "images": runs[0]["images"],
        "tags": runs[0]["tags"],
        "seconds_per_seed": [run["seconds"] for run in runs],
        "arms": {name: _of_arm([run["arms"][name] for run in runs]) for name in names},
        "against_parsing": {
            name: _against(
                [run["arms"][name] for run in runs], [run["arms"]["parsing"] for run in runs]
            )
            for name in names
            if name != "parsing"
        },
    }


def _of_arm(runs: list[dict[str, Any]]) -> dict[str, Any]:
    keys = {
        f"{group}.{key}"
        for run in runs
        for group, values in run.items()
        if isinstance(values, dict)
        for key in values
    }
    return {key: interval([_get(run, key) for run in runs]) for key in sorted(keys)}


def _against(runs: list[dict[str, Any]], parsing: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the differences to parsing alone, paired by seed."""
    differences = {
        key: interval([_get(a, key) - _get(b, key) for a, b in zip(runs, parsing, strict=True)])
        for key in COMPARED
    }
    return {key: found for key, found in differences.items() if found["mean"] == found["mean"]}


def _get(arm: dict[str, Any], key: str) -> float:
    """Return a measure; NaN where a seed does not have it."""
    group, name = key.split(".", 1)
    return arm.get(group, {}).get(name, float("nan"))

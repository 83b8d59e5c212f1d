"""Train a whole model on the labels of parsing, oracle and engine, and measure it on the test.

    python -m benchmarks.data_engine scenes --models full --seeds 3 --out runs/engine
    python -m benchmarks.engine_bench.full_training --arms parsing oracle --out runs/engine

The second asks for some arms only, and never makes labels: the engine's are read from
OUT/labels/scenes/seed-N/engine.parquet; parsing's and oracle's are drawn anew, which is cheap.
An arm and seed that is done on the same labels by the same recipe is not done again. Measures go
to OUT/results/scenes-seed-N-full.json, which the summary and the table put beside the others.
"""

import argparse
import hashlib
import json
import time
from collections.abc import Sequence
from dataclasses import asdict, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import torch

from benchmarks.engine_bench.dataset import parse
from benchmarks.engine_bench.measures import label_measures, model_measures, rare_tags
from benchmarks.engine_bench.whole_model import RECIPE, Recipe, scores_of, train_whole
from benchmarks.engine_world.pinned import SIZES, Split, make_split
from benchmarks.engine_world.tags import vocabulary
from ram_ray.labels.parser.caption_parser import CaptionParser

FULL_ARMS = ("parsing", "oracle", "engine")
"""What the plan of the benchmark asks to be trained whole; the engine's labels come last."""


def train_arms(
    out: Path,
    seeds: Sequence[int],
    arms: Sequence[str] = FULL_ARMS,
    *,
    train_images: int,
    recipe: Recipe = RECIPE,
) -> None:
    """Train and measure each arm on the scenes of each seed.

    Args:
        train_images: how many; as many as the labels of the engine are of.

    Raises:
        FileNotFoundError: the engine's labels are not there.
        ValueError: they are of other pictures or captions, or what is there is of another recipe.
    """
    for seed in seeds:
        for arm in arms:
            pictures, observed = scenes(seed, train_images)
            labels = labels_of(arm, pictures, observed, out / "labels" / "scenes" / f"seed-{seed}")
            record = read_record(out, seed, pictures, recipe)
            if record["arms"].get(arm, {}).get("trained_on") == mark_of(labels, recipe):
                continue
            record["arms"][arm] = measure(pictures, observed, labels, seed, recipe)
            write_record(out, record)
            found = record["arms"][arm]
            score, took = found["full"]["map"], found["seconds"]
            print(f"scenes seed {seed}: {arm}, whole model, mAP {score:.3f}, {took} s", flush=True)


@lru_cache(maxsize=1)
def scenes(seed: int, train_images: int) -> tuple[Split, np.ndarray]:
    """Return training pictures, and bool [N, 48], the tags of their captions."""
    pictures = make_split("train", seed, train_images)
    return pictures, parse(CaptionParser(vocabulary()), pictures.captions)


def labels_of(arm: str, pictures: Split, observed: np.ndarray, folder: Path) -> np.ndarray:
    """Return bool [N, 48], the labels that an arm trains on."""
    if arm in ("parsing", "oracle"):
        return observed if arm == "parsing" else pictures.truth
    path = folder / f"{arm}.parquet"
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is not there: run `python -m benchmarks.data_engine scenes --models none` "
            "with the same --out first."
        )
    found = read_labels(path, observed.shape)
    for name, expected in (("truth", pictures.truth), ("observed", observed)):
        if not np.array_equal(found[name], expected):
            raise ValueError(
                f"{path} has another {name!r} than the scenes of this seed: it is of another "
                "seed, size or caption parser."
            )
    return found["final"]


def read_labels(path: Path, shape: tuple[int, ...]) -> dict[str, np.ndarray]:
    """Return truth, observed and final, bool [N, T] each, of a file of `write_labels`."""
    table = pq.read_table(path)
    at = table["image"].to_numpy(), table["tag_id"].to_numpy()
    if int(at[0].max()) >= shape[0]:
        raise ValueError(f"{path} has labels of picture {at[0].max()}, but there are {shape[0]}.")
    found = {}
    for name in ("truth", "observed", "final"):
        found[name] = np.zeros(shape, bool)
        found[name][at] = table[name].to_numpy(zero_copy_only=False)
    return found


def measure(
    pictures: Split, observed: np.ndarray, labels: np.ndarray, seed: int, recipe: Recipe
) -> dict[str, Any]:
    """Return the measures of a label set and of a whole model trained on it; CPU time of both."""
    started = time.process_time()
    trained = train_whole(pictures.images, labels, seed=seed, recipe=recipe)
    test = make_split("test", seed, SIZES["test"])
    scores = scores_of(trained, test.images)
    return {
        "labels": label_measures(pictures.truth, observed, labels),
        "full": model_measures(scores, test.truth, rare_tags(observed)),
        "trained_on": mark_of(labels, recipe),
        "seconds": round(time.process_time() - started, 1),
    }


def mark_of(labels: np.ndarray, recipe: Recipe) -> str:
    """Return what tells these labels, and the recipe, from others."""
    settings = json.dumps(asdict(recipe), sort_keys=True).encode()
    return hashlib.sha256(np.packbits(labels).tobytes() + settings).hexdigest()[:16]


def read_record(out: Path, seed: int, pictures: Split, recipe: Recipe) -> dict[str, Any]:
    """Return what is measured of a seed so far."""
    path = _record_path(out, seed)
    if path.exists():
        record = json.loads(path.read_text())
        if record["recipe"] != asdict(recipe):
            raise ValueError(f"{path} is of another recipe: give another --out.")
        return record
    return {
        "dataset": "scenes",
        "seed": seed,
        "quick": len(pictures.images) < SIZES["train"],
        "trained": False,  # no model on frozen features
        "images": len(pictures.images),
        "tags": pictures.truth.shape[1],
        "seconds": 0.0,
        "recipe": asdict(recipe),
        "arms": {},
    }


def write_record(out: Path, record: dict[str, Any]) -> None:
    """Write a seed's measures whole or not at all."""
    record["seconds"] = round(sum(found["seconds"] for found in record["arms"].values()), 1)
    path = _record_path(out, record["seed"])
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_suffix(".tmp")
    fresh.write_text(json.dumps(record, indent=1))
    fresh.replace(path)


def _record_path(out: Path, seed: int) -> Path:
    return out / "results" / f"scenes-seed-{seed}-full.json"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--arms", nargs="+", choices=FULL_ARMS, default=FULL_ARMS)
    parser.add_argument("--out", type=Path, default=Path("runs/data-engine"))
    parser.add_argument("--epochs", type=int, default=RECIPE.epochs)
    chosen = parser.parse_args()
    torch.set_num_threads(1)
    train_arms(
        chosen.out,
        chosen.seeds,
        chosen.arms,
        train_images=SIZES["train"],
        recipe=replace(RECIPE, epochs=chosen.epochs),
    )

"""What is each step of the data engine worth? Rendered scenes with known tags, and Flickr8k.

    python -m benchmarks.data_engine --quick                       # one seed, under 10 minutes
    python -m benchmarks.data_engine scenes --seeds 5 --out runs/engine
    python -m benchmarks.data_engine flickr8k --seeds 3 --data ../shared/data --out runs/engine
    python -m benchmarks.data_engine scenes --models full --seeds 3 --out runs/engine
    python -m benchmarks.data_engine summary --out runs/engine     # JSON of what is there

`--models`: on which labels a model is trained. A decoder on frozen features: `all` arms, `key`
arms or `none`; `full` trains whole models, image encoder too, on the labels of parsing, oracle and
engine (scenes only), and makes labels where a seed has none.

Needs `pip install 'ram-ray[cleanlab]'`. A seed that is done is not done again: a killed run goes
on when it is called again. Every arm and seed leaves its labels beside the truth, in
OUT/labels/DATASET/seed-N/ARM.parquet, and its measures in OUT/results/DATASET-seed-N.json.
"""

import argparse
import json
import time
from pathlib import Path
from typing import Any, Literal, get_args

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks.engine_bench.arms import Arm, arms
from benchmarks.engine_bench.dataset import Dataset, cached_scenes
from benchmarks.engine_bench.flickr import photos, prepare
from benchmarks.engine_bench.full_training import train_arms
from benchmarks.engine_bench.heads import scores_of, train_head
from benchmarks.engine_bench.measures import (
    label_measures,
    model_measures,
    rare_tags,
    recall_at,
    suspicion_measures,
)
from benchmarks.engine_bench.scene_encoder import train_encoder
from benchmarks.engine_bench.summary import summarise
from benchmarks.engine_world.pinned import SIZES

ENCODER = {"pictures": 12_000, "epochs": 10}
QUICK_ENCODER = {"pictures": 4_000, "epochs": 8}
Models = Literal["all", "key", "none", "full"]
KEY_ARMS = (
    "parsing", "oracle", "robust_loss_splc", "generation_0.90", "cleaning", "placebo",
    "cleanlab", "engine",
)  # fmt: skip
"""What a model is trained on where there is no time for one of every arm."""
QUICK_COUNTS = {"train": 2_000, "trusted": 600, "test": 1_000}


def run_scenes(
    out: Path, seeds: list[int], *, quick: bool, models: Models, more_baselines: bool
) -> None:
    """Measure every arm on the scenes of each seed."""
    name = "encoder-quick.pt" if quick else "encoder.pt"
    encoder = train_encoder(out / name, **(QUICK_ENCODER if quick else ENCODER))
    counts = QUICK_COUNTS if quick else {k: SIZES[k] for k in ("train", "trusted", "test")}
    for seed in seeds:
        if not _is_done(out, "scenes", seed):
            dataset = cached_scenes(out, encoder, out / name, seed, counts=counts)
            run_seed(dataset, seed, out, quick=quick, models=models, more_baselines=more_baselines)
    if models == "full":
        train_arms(out, seeds, train_images=counts["train"])


def run_photos(
    out: Path, seeds: list[int], data: Path, *, models: Models, more_baselines: bool
) -> None:
    """Measure every arm on Flickr8k."""
    path = prepare(data, out)
    for seed in seeds:
        if not _is_done(out, "flickr8k", seed):
            run_seed(
                photos(path, seed),
                seed,
                out,
                quick=False,
                models=models,
                more_baselines=more_baselines,
            )


def run_seed(
    dataset: Dataset, seed: int, out: Path, *, quick: bool, models: Models, more_baselines: bool
) -> None:
    """Measure every arm of one seed, and write labels and measures."""
    started = time.monotonic()
    results: dict[str, Any] = {}
    suspicions: dict[str, np.ndarray] = {}
    for arm in arms(dataset, seed, more_baselines=more_baselines):
        write_labels(dataset, arm, out / "labels" / dataset.name / f"seed-{seed}")
        results[arm.name] = measure(dataset, arm, seed, train=is_trained(arm, models))
        if arm.suspicion is not None:
            suspicions[arm.name] = arm.suspicion
        took = time.monotonic() - started
        print(f"{dataset.name} seed {seed}: {arm.name}, {took:.0f} s", flush=True)
    _compare_with_cleanlab(dataset, results, suspicions)
    record = {
        "dataset": dataset.name,
        "seed": seed,
        "quick": quick,
        "trained": models in ("all", "key"),
        "images": len(dataset.train.observed),
        "tags": dataset.num_tags,
        "rare_tags": int(rare_tags(dataset.train.observed).sum()),
        "seconds": round(time.monotonic() - started, 1),
        "arms": results,
    }
    path = _result_path(out, dataset.name, seed)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(record, indent=1))


def measure(dataset: Dataset, arm: Arm, seed: int, *, train: bool) -> dict[str, Any]:
    """Return the measures of a label set and of a model trained on it."""
    images = dataset.train
    found: dict[str, Any] = {
        "labels": label_measures(images.truth, images.observed, arm.labels),
    }
    if train:
        heads = [
            train_head(images.tokens, arm.labels, seed=seed * 100 + 98 + member, loss=arm.loss)
            for member in range(2)
        ]
        scores = scores_of(heads, dataset.test.tokens)
        rare = rare_tags(images.observed)
        found["model"] = model_measures(scores, dataset.test.truth, rare)
    if arm.suspicion is not None:
        found["suspicion"] = suspicion_measures(images.truth, images.observed, arm.suspicion)
    return found


def is_trained(arm: Arm, models: Models) -> bool:
    """Return whether a model is trained on the arm's labels."""
    return arm.name in KEY_ARMS if models == "key" else models == "all" and arm.train


def _compare_with_cleanlab(
    dataset: Dataset, results: dict[str, Any], suspicions: dict[str, np.ndarray]
) -> None:
    """Add the recall of every ranking at the over-removal that cleanlab chose."""
    images = dataset.train
    over = results["cleanlab"]["labels"]["over_removal"]
    for name, suspicion in suspicions.items():
        recall = recall_at(images.truth, images.observed, suspicion, over)
        results[name]["suspicion"]["recall_at_cleanlabs_over_removal"] = recall


def write_labels(dataset: Dataset, arm: Arm, folder: Path) -> None:
    """Write one row per (image, tag) that is true, observed or final."""
    images = dataset.train
    rows, tag_ids = np.nonzero(images.truth | images.observed | arm.labels)
    columns = {"truth": images.truth, "observed": images.observed, "final": arm.labels}
    table = pa.table(
        {
            "image": pa.array(rows.astype(np.int32)),
            "tag_id": pa.array(tag_ids.astype(np.int16)),
            "tag": pa.array(dataset.vocabulary.names).take(pa.array(tag_ids)).dictionary_encode(),
            **{name: pa.array(values[rows, tag_ids]) for name, values in columns.items()},
        }
    )
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, folder / f"{arm.name}.parquet", compression="zstd")


def _result_path(out: Path, dataset: str, seed: int) -> Path:
    return out / "results" / f"{dataset}-seed-{seed}.json"


def _is_done(out: Path, dataset: str, seed: int) -> bool:
    return _result_path(out, dataset, seed).exists()


def main() -> None:
    """Run what the command line asks for and print the summary as JSON."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    choices = ("scenes", "flickr8k", "summary")
    parser.add_argument("what", choices=choices, nargs="?", default="scenes")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--out", type=Path, default=Path("runs/data-engine"))
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--models", choices=get_args(Models), default="all", help="what is trained (above)"
    )
    parser.add_argument(
        "--one-baseline", action="store_true", help="no arms that train a baseline of their own"
    )
    parser.add_argument("--quick", action="store_true", help="one small seed of scenes")
    arguments = parser.parse_args()
    if arguments.models == "full" and arguments.what != "scenes":
        parser.error("--models full is for scenes only.")
    torch.set_num_threads(1)
    out = arguments.out / "quick" if arguments.quick else arguments.out
    options = {"models": arguments.models, "more_baselines": not arguments.one_baseline}
    seeds = [0] if arguments.quick else list(range(arguments.seeds))
    if arguments.what == "scenes":
        run_scenes(out, seeds, quick=arguments.quick, **options)
    elif arguments.what == "flickr8k":
        run_photos(out, seeds, arguments.data, **options)
    print(json.dumps(summarise(out / "results"), indent=1))


if __name__ == "__main__":
    main()

"""Settings tried on a development seed, which no measured seed shares a scene with.

python -m benchmarks.engine_bench.sweep --out runs/data-engine    # after a run of the scenes
"""

import argparse
import json
from pathlib import Path
from typing import Any

import torch

from benchmarks.engine_bench.dataset import Dataset, cached_scenes
from benchmarks.engine_bench.measures import label_measures, suspicion_measures
from benchmarks.engine_bench.scene_encoder import train_encoder
from benchmarks.engine_bench.steps import Seen, clean, generate, see
from benchmarks.engine_world.pinned import SIZES
from ram_ray.data_engine.config import RULES, FilterConfig, Rule

SEED = 900
TARGETS = (0.7, 0.8, 0.9, 0.95, 0.97)
OVER_REMOVALS = (0.02, 0.04, 0.06, 0.08)
RULE_SETS: tuple[tuple[Rule, ...], ...] = (
    RULES,
    ("improbable", "region_contradiction"),
    ("improbable", "region_contradiction", "caption_mismatch"),
    ("improbable", "region_contradiction", "cluster_outlier"),
)


def sweep(dataset: Dataset, seen: Seen) -> dict[str, Any]:
    """Return the label measures of every setting."""
    observed, truth = dataset.train.observed, dataset.train.truth
    found: dict[str, Any] = {}
    for target in TARGETS:
        for method in ("agreement", "own_caption"):
            added = generate(dataset, seen.view.whole, target=target, method=method).added
            measures = label_measures(truth, observed, observed | added)
            found[f"generation {method} {target}"] = measures
    for rules in RULE_SETS:
        for limit in OVER_REMOVALS if rules == RULES else (0.06,):
            config = FilterConfig(rules=rules, max_over_removal=limit)
            cleaned = clean(dataset, seen, observed, seed=SEED, config=config)
            measures = label_measures(truth, observed, observed & ~cleaned.removed)
            measures |= suspicion_measures(truth, observed, cleaned.suspicion)
            found[f"cleaning {'+'.join(rules)} {limit}"] = measures
    return found


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("runs/data-engine"))
    out = parser.parse_args().out
    torch.set_num_threads(1)
    encoder = train_encoder(out / "encoder.pt", pictures=0, epochs=0)
    counts = {name: SIZES[name] for name in ("train", "trusted", "test")}
    scenes = cached_scenes(out, encoder, out / "encoder.pt", SEED, counts=counts)
    print(json.dumps(sweep(scenes, see(scenes, scenes.train.observed, SEED)), indent=1))

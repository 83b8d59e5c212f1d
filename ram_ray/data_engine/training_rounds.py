"""Rounds: engine -> train -> engine, out of fold all the way.

    OUTPUT/round-1/engine      labels by the given models
    OUTPUT/round-1/fold-0 ...  a model trained on all images but those of fold 0
    OUTPUT/round-2/engine      labels by those models, each judging its own fold
    OUTPUT/model               trained on the last labels of all images

Every part resumes by itself, so the whole is run again after a kill.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa

from ram_ray.config import require
from ram_ray.data_engine.config import EngineConfig
from ram_ray.data_engine.engine import EngineResult, run
from ram_ray.data_engine.plan.image_plan import fold_of
from ram_ray.data_engine.revisions.label_sets import read_revision, revision_store
from ram_ray.data_engine.steps import OnProgress, read_table
from ram_ray.runs.plans import shard_name, to_parquet
from ram_ray.storage.stores import open_store

Train = Callable[[dict[str, Any]], str]
"""Trains from settings (`data`, `labels`, `output`, `vocabulary`) and returns the model folder."""


@dataclass(frozen=True, kw_only=True, slots=True)
class RoundsResult:
    """What came of the rounds."""

    rounds: tuple[EngineResult, ...]
    model: str
    """Folder of the model trained on the last labels."""


def run_rounds(
    config: EngineConfig,
    train: Train,
    *,
    rounds: int = 2,
    folds: int = 3,
    on_progress: OnProgress | None = None,
) -> RoundsResult:
    """Do `rounds` engine runs, with models trained in between on the labels of the one before.

    Args:
        config: of the first run; `output` holds all of it.
        train: trains one model; called `folds` times between two rounds, once at the end.

    Raises:
        ConfigError: a setting is wrong.
        IncompleteRunError: a part failed; run again to resume.
    """
    require(rounds >= 1, "rounds", rounds, "at least 1")
    require(folds >= 2, "folds", folds, "at least 2")
    root = config.output.rstrip("/")
    models = config.models
    results: list[EngineResult] = []
    for number in range(1, rounds + 1):
        place = f"{root}/round-{number}"
        vocabulary = f"{root}/round-1/engine/vocabulary.parquet" if number > 1 else None
        this = replace(
            config,
            output=f"{place}/engine",
            models=models,
            vocabulary=config.vocabulary or vocabulary,
        )
        results.append(run(this, on_progress=on_progress))
        if number < rounds:
            models = tuple(
                train(_training(this, results[-1], f"{place}/fold-{fold}", fold, folds))
                for fold in range(folds)
            )
    final = replace(config, output=f"{root}/round-{rounds}/engine")
    model = train(_training(final, results[-1], f"{root}/final", None, folds))
    return RoundsResult(rounds=tuple(results), model=model)


def _training(
    config: EngineConfig, result: EngineResult, place: str, fold: int | None, folds: int
) -> dict[str, Any]:
    """Return settings that train on the labels of a run, but those of the images of one fold."""
    if fold is None:
        labels = f"{config.output}/revisions/{result.revision:06d}/images"
    else:
        labels = f"{place}/labels"
        write_labels_without(config, result, labels, fold, folds)
    return {
        "data": config.source,
        "labels": labels,
        "vocabulary": f"{config.output}/vocabulary.parquet",
        "output": f"{place}/train",
    }


def write_labels_without(
    config: EngineConfig, result: EngineResult, target: str, fold: int, folds: int
) -> int:
    """Write the labels of the images outside a fold, for a model that will judge that fold.

    Returns:
        How many images that are.
    """
    store = open_store(config.output, config.store)
    revision = read_revision(store, result.revision)
    own = revision_store(store, revision.number, config.store)
    out = open_store(target, config.store, create=True)
    count = 0
    for shard in range(revision.num_shards):
        images = read_table(own, "images", shard)
        outside = [fold_of(name, folds) != fold for name in images["image_id"].to_pylist()]
        kept = images.filter(pa.array(outside, pa.bool_()))
        out.write(f"{shard_name(shard)}.parquet", to_parquet(kept))
        count += kept.num_rows
    return count

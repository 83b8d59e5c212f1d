"""`ram-ray evaluate` and `ram-ray calibrate`: from a run and labels to figures, page, thresholds.

Both read what `ram-ray tag --score-floor 0` wrote; only baselines open images and run models.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from ram_model.metrics import UNVERIFIED
from ram_ray.errors import ConfigError
from ram_ray.evaluation.baselines import Baseline, measure_baselines
from ram_ray.evaluation.calibration import ABSTAIN, TagThreshold, choose_thresholds
from ram_ray.evaluation.config import CalibrationConfig, LabelsConfig
from ram_ray.evaluation.measures import measure
from ram_ray.evaluation.page import render
from ram_ray.evaluation.scored import ScoredImages, read_scored
from ram_ray.evaluation.truth import read_truth
from ram_ray.storage.stores import open_store


def evaluate(
    config: LabelsConfig, *, baselines: Sequence[str] = (), num_draws: int = 200
) -> dict[str, Any]:
    """Write evaluation.json and evaluation.html into the run's output; return the figures.

    Args:
        baselines: each as `Baseline.parse` takes it; they open the run's images and run a model.

    Raises:
        ConfigError: as `read_truth`, `read_scored` and `measure_baselines`.
        UnreachableError: the output cannot be read or written, or an image cannot be read.
    """
    beside = [Baseline.parse(text) for text in baselines]
    scored = _read(config)
    figures = measure(scored, num_draws=num_draws)
    figures["baselines"] = measure_baselines(beside, scored, config.store, num_draws=num_draws)
    page = render(scored, figures)
    store = open_store(config.output, config.store)
    store.write("evaluation.json", json.dumps(figures, indent=1).encode())
    store.write("evaluation.html", page.encode())
    return figures


def calibrate(
    config: LabelsConfig, promise: CalibrationConfig, thresholds_file: str
) -> dict[str, Any]:
    """Write one threshold a line, in tag order, for `ram-ray tag --threshold FILE`.

    Beside it, `<file>.json` says for each tag why its threshold is what it is. A tag that abstains
    gets 1.0 and is never given; one of which the labels say nothing keeps the run's threshold.

    Returns:
        Counts by outcome, and the figures of `<file>.json`.

    Raises:
        ConfigError: as `read_truth` and `read_scored`, a run with new words, every tag would be
            switched off (but for `promise.allow_empty`), or the file cannot be written.
    """
    scored = _read(config)
    if scored.record.labels_sha256 is not None:
        raise ConfigError(
            f"{config.output} was tagged with new words, for which a file of thresholds has no "
            "line; tag with the model's own tags, or use `tag --set open_set_threshold=`."
        )
    chosen = choose_thresholds(scored.labels, scored.scores, promise)
    known = (scored.labels != UNVERIFIED).any(axis=0)
    if not promise.allow_empty and not any(tag.outcome == "given" for tag in chosen):
        raise ConfigError(
            f"None of the {known.sum():,} tags that the labels speak of shows a precision of "
            f"{promise.target_precision:g} on {len(scored.image_ids):,} images, so nothing was "
            "written: label more images, lower --target-precision, or say --allow-empty."
        )
    thresholds = scored.all_thresholds.astype(np.float64)
    tag_ids = np.array(scored.tag_ids)
    thresholds[tag_ids[known]] = np.array([tag.threshold for tag in chosen])[known]
    report = _report(scored, chosen, known, thresholds, promise)
    path = Path(thresholds_file)
    try:
        path.write_text("".join(f"{value:.6f}\n" for value in thresholds), encoding="utf-8")
        path.with_name(f"{path.name}.json").write_text(json.dumps(report, indent=1) + "\n")
    except OSError as error:
        raise ConfigError(f"The thresholds {path} cannot be written: {error}.") from error
    return report


def _read(config: LabelsConfig) -> ScoredImages:
    truth = read_truth(config.labels, config.layout, config.unlisted, config.tag_list)
    return read_scored(open_store(config.output, config.store), truth, config.match)


def _report(
    scored: ScoredImages,
    chosen: list[TagThreshold],
    known: np.ndarray,
    thresholds: np.ndarray,
    promise: CalibrationConfig,
) -> dict[str, Any]:
    """Return what is told: `known` bool [C], of which tags the labels say anything."""
    outcomes = [tag.outcome for tag, is_known in zip(chosen, known, strict=True) if is_known]
    before, after = scored.all_thresholds < ABSTAIN, thresholds < ABSTAIN
    off = np.flatnonzero(before & ~after)
    return {
        "model": scored.model_id,
        "images": len(scored.image_ids),
        "target_precision": promise.target_precision,
        "confidence": promise.confidence,
        "outcomes": {outcome: outcomes.count(outcome) for outcome in sorted(set(outcomes))},
        "tags_without_labels": len(scored.vocabulary) - len(outcomes),
        "tags_on": int(after.sum()),
        "tags_on_before": int(before.sum()),
        "switched_off": [scored.vocabulary.names[tag_id] for tag_id in off],
        "tags": [
            {"tag_id": tag_id, "name": name} | _without_nan(asdict(tag))
            for tag_id, name, tag, is_known in zip(
                scored.tag_ids, scored.names, chosen, known, strict=True
            )
            if is_known
        ],
    }


def _without_nan(fields: dict[str, Any]) -> dict[str, Any]:
    return {name: None if value != value else value for name, value in fields.items()}

"""ram-mini's thresholds against objects that people drew: COCO-80 labels of the shared photos.

    python -m benchmarks.coco_calibration labels --data ../shared/data > coco.jsonl
    ram-ray tag ../shared/data/photos run --include 'coco_*' --score-floor 0
    ram-ray calibrate run coco.jsonl --target-precision 0.7
    python -m benchmarks.coco_calibration held-out --run run --labels coco.jsonl --target 0.7

`held-out` chooses thresholds on some of the photos and counts on the others, in turn, until each
photo was held out once: of so few photos none can be spared for counting alone.
"""

import argparse
import csv
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ram_model.metrics import PRESENT
from ram_ray.config import StoreConfig
from ram_ray.evaluation.calibration import choose_thresholds
from ram_ray.evaluation.config import CalibrationConfig
from ram_ray.evaluation.scored import ScoredImages, read_scored
from ram_ray.evaluation.truth import read_truth
from ram_ray.storage.stores import open_store

FOLDS = 10
OFTEN = 20  # firings from which a tag's held-out precision says something


def write_labels(data: Path) -> None:
    """Print a line per photo with drawn labels; every photo was searched for all 80 objects."""
    with (data / "photos/MANIFEST.tsv").open(newline="") as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["path"].startswith("coco_") and row["labels"]:
                present = row["labels"].split(",")
                print(json.dumps({"image_id": row["path"], "present": present}))


@dataclass(frozen=True, kw_only=True, slots=True)
class HeldOut:
    """What thresholds gave on photos that did not choose them; [C] each, summed over the folds."""

    fired: np.ndarray
    right: np.ndarray
    given: np.ndarray
    """In how many folds the tag had a threshold."""


def hold_out(labels: np.ndarray, scores: np.ndarray, promise: CalibrationConfig) -> HeldOut:
    """Count firings of labels [N, C] with thresholds from the other photos."""
    fold = np.random.default_rng(0).permutation(len(labels)) % FOLDS
    fired, right, given = np.zeros((3, labels.shape[1]), int)
    for number in range(FOLDS):
        chosen = choose_thresholds(labels[fold != number], scores[fold != number], promise)
        fires = scores[fold == number] > np.array([tag.threshold for tag in chosen])
        fired += fires.sum(0)
        right += (fires & (labels[fold == number] == PRESENT)).sum(0)
        given += np.array([tag.outcome == "given" for tag in chosen])
    return HeldOut(fired=fired, right=right, given=given)


def report(scored: ScoredImages, target: float) -> dict:
    """Return what came of all photos and of those held out."""
    positives = (scored.labels == PRESENT).sum(0)
    found: dict[str, Any] = {
        "photos": len(scored.image_ids),
        "tags_with_labels": len(scored.tag_ids),
    }
    found["tags_with_20_positives"] = int((positives >= OFTEN).sum())
    own = scored.scores > scored.thresholds
    for name, fired in (("own thresholds", own), ("all photos", None)):
        if fired is None:
            promise = CalibrationConfig(target_precision=target)
            chosen = choose_thresholds(scored.labels, scored.scores, promise)
            fired = scored.scores > np.array([tag.threshold for tag in chosen])
            outcomes = [tag.outcome for tag in chosen]
            found["outcomes"] = {name: outcomes.count(name) for name in sorted(set(outcomes))}
        found[name] = _tags(scored, fired.sum(0), (fired & (scored.labels == PRESENT)).sum(0))
    held = hold_out(scored.labels, scored.scores, CalibrationConfig(target_precision=target))
    found["held out"] = _tags(scored, held.fired, held.right, held.given)
    return found


def _tags(
    scored: ScoredImages, fired: np.ndarray, right: np.ndarray, given: np.ndarray | None = None
) -> list[dict]:
    positives = (scored.labels == PRESENT).sum(0)
    return [
        {"tag": scored.names[c], "positives": int(positives[c]), "fired": int(fired[c])}
        | {"right": int(right[c]), "precision": round(float(right[c] / fired[c]), 3)}
        | {"recall": round(float(right[c] / max(positives[c], 1)), 3)}
        | ({} if given is None else {"folds_with_threshold": int(given[c])})
        for c in np.argsort(-fired)
        if fired[c]
    ]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    steps = parser.add_subparsers(dest="step", required=True)
    labels = steps.add_parser("labels")
    labels.add_argument("--data", type=Path, required=True)
    held_out = steps.add_parser("held-out")
    held_out.add_argument("--run", required=True)
    held_out.add_argument("--labels", required=True)
    held_out.add_argument("--target", type=float, default=0.7)
    a = parser.parse_args()
    if a.step == "labels":
        write_labels(a.data)
    else:
        run = read_scored(open_store(a.run, StoreConfig()), read_truth(a.labels))
        print(json.dumps(report(run, a.target), indent=1))

"""Turn a run of train_ram_mini.py into the model folder that ships, and measure it.

    python -m research.ram_mini.package --data ../shared/data --cache runs/cache --run runs/mini \
        --folder model/ram_model/weights/ram-mini

Thresholds come from tar 9 of Flickr8k (captions unseen in training), figures from tars 10 and 11.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

import numpy as np
import torch

from ram_model import Ram, Vocabulary, load_folder, save_folder
from ram_model.vocabulary import OFF
from ram_ray.evaluation.calibration import choose_thresholds as calibrate_thresholds
from ram_ray.evaluation.config import CalibrationConfig
from research.ram_mini.data import Data, average_precision
from research.ram_mini.prepare import read_tags
from research.ram_mini.student import Student, mini_config
from research.ram_mini.train import predict

# A tag is shown where it is right this far between guessing and certainty: "man" stands in four of
# ten captions, so it must be surer than "snow". Right means that a caption says it.
TARGET_GAIN = 0.4
PRIOR_FIRINGS = 5.0  # how many firings the pooled calibration weighs against a tag's own
# From 0.4: lower ones hold on Flickr8k, but fire at random on photos of other kinds.
THRESHOLD_GRID = np.arange(0.40, 0.94, 0.01)
UNPROVEN = 0.95  # threshold of a tag that cannot show its precision: fires only when almost sure
CALIBRATION_TARGET = 0.7
OFTEN = 20  # firings from which a tag's held-out precision says something
LEAST_POSITIVES = 10  # a tag with fewer in the held-out part has no average precision
BOOTSTRAP_DRAWS = 100


def package(data_folder: Path, cache: Path, run: Path, folder: Path) -> dict:
    """Write the model folder of a run of `train_ram_mini`; return the figures of the card."""
    data = Data(cache)
    state = torch.load(run / "checkpoint.pt", weights_only=True)["average"]
    student = Student(mini_config(len(data.tags)), data.targets.mean(0))
    student.load_state_dict(state)

    def decoder_scores(model: Ram, rows: np.ndarray) -> np.ndarray:
        student.ram = model
        return predict(student.eval(), data, rows)[0]

    return package_model(student.ram, data, decoder_scores, data_folder, folder)


def package_model(
    model: Ram,
    data: "Labelled",
    predict: Callable[[Ram, np.ndarray], np.ndarray],
    data_folder: Path,
    folder: Path,
) -> dict:
    """Write the model folder; return the figures of the model card.

    Args:
        predict: from a model and row numbers to scores [N, C].
    """
    tags, rows = read_tags(), data.threshold_rows
    kept_scores = predict(model.eval(), rows)
    thresholds = choose_thresholds(data.targets[rows], kept_scores)
    thresholds[[not tag.shown for tag in tags]] = OFF
    vocabulary = Vocabulary(
        names=tuple(tag.name for tag in tags),
        thresholds=thresholds,
        kinds=tuple(tag.kind for tag in tags),
        aliases=tuple(tuple(sorted(tag.forms - {tag.name})) for tag in tags),
    )
    save_folder(model, model.config, vocabulary, folder, dtype=torch.float16)
    words = (data_folder / "labels/flickr8k_plain_words.txt").read_text().split()
    packaged = load_folder(folder).model
    assert isinstance(packaged, Ram)
    scores = predict(packaged.eval(), data.test_rows)
    shown = np.array([tag.shown for tag in tags])
    truth = data.targets[:, shown]
    calibrated = calibration_figures(
        truth[rows], kept_scores[:, shown], truth[data.test_rows], scores[:, shown]
    )
    return measure(data, scores, thresholds, words) | {"calibrated": calibrated}


class Labelled(Protocol):
    """What packaging needs to know of the photos."""

    targets: np.ndarray
    """float32 [N, C]: captions say the tag."""
    words: list[set[str]]
    """Of the captions of each photo."""
    threshold_rows: np.ndarray
    test_rows: np.ndarray


def choose_thresholds(
    truth: np.ndarray, scores: np.ndarray, gain: float = TARGET_GAIN
) -> np.ndarray:
    """Return float32 [C]: the lowest threshold with the target precision, `UNPROVEN` if none.

    A tag's own precision on few photos is noise, so it is mixed with what all tags together show
    at the same scores, worth `PRIOR_FIRINGS` firings.
    """
    pooled = pooled_precision(truth, scores)
    prior = truth.mean(0)
    targets = prior + gain * (1 - prior)
    thresholds = np.full(scores.shape[1], UNPROVEN, dtype=np.float32)
    for tag in range(scores.shape[1]):
        for threshold in THRESHOLD_GRID:
            fired = scores[:, tag] > threshold
            expected = pooled(scores[fired, tag] if fired.any() else np.array([threshold])).mean()
            right = truth[fired, tag].sum() + PRIOR_FIRINGS * expected
            if right >= targets[tag] * (fired.sum() + PRIOR_FIRINGS):
                thresholds[tag] = threshold
                break
    return thresholds


def calibration_figures(
    truth: np.ndarray, scores: np.ndarray, test_truth: np.ndarray, test_scores: np.ndarray
) -> dict:
    """Return what `ram-ray calibrate` would promise, and what it keeps on the held-out photos.

    Thresholds are chosen on the first two, with the target `CALIBRATION_TARGET`.
    """
    promise = CalibrationConfig(target_precision=CALIBRATION_TARGET)
    chosen = calibrate_thresholds(truth.astype(np.int8), scores.clip(0, 1), promise)
    fired = test_scores > np.array([tag.threshold for tag in chosen])
    right = (fired & (test_truth > 0)).sum(0)
    often = fired.sum(0) >= OFTEN
    precision = right[often] / fired.sum(0)[often]
    return {
        "target": CALIBRATION_TARGET,
        "tags_given": sum(tag.outcome == "given" for tag in chosen),
        "tags_abstaining": sum(tag.outcome != "given" for tag in chosen),
        f"tags_with_{OFTEN}_firings": int(often.sum()),
        "of_them_at_target": int((precision >= CALIBRATION_TARGET).sum()),
        "their_precision": float(right[often].sum() / max(fired[:, often].sum(), 1)),
        "their_recall": float(right[often].sum() / max(test_truth[:, often].sum(), 1)),
    }


def pooled_precision(truth: np.ndarray, scores: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return a function from score to the share of right tags near that score, over all tags."""
    edges = np.linspace(0, 1, 21)
    bins = np.clip(np.digitize(scores.ravel(), edges) - 1, 0, 19)
    right = np.bincount(bins, truth.ravel(), 20)
    total = np.bincount(bins, minlength=20)
    share = np.maximum.accumulate((right + 1e-3) / (total + 1e-2))
    centres = (edges[:-1] + edges[1:]) / 2
    return lambda values: np.interp(values, centres, share)


def measure(data: Labelled, scores: np.ndarray, thresholds: np.ndarray, words: list[str]) -> dict:
    """Return mAP on both word lists, and precision and recall of the tags shown."""
    rows = data.test_rows
    tags = read_tags()
    own = [tag.shown for tag in tags]
    truth = data.targets[rows]
    fired = scores > thresholds
    right = fired & (truth > 0)
    shown = fired.sum(1)
    word_truth = np.array(
        [[w in data.words[r] or w + "s" in data.words[r] for w in words] for r in rows],
        dtype=np.float32,
    )
    columns = word_columns(words)
    word_scores = np.where(columns >= 0, scores[:, columns], 0.0)
    return {
        "photos": len(rows),
        "yardstick": figures(word_truth, word_scores),
        "yardstick_words_without_tag": int((columns < 0).sum()),
        "own_vocabulary": figures(truth[:, own], scores[:, own]),
        "tags": sum(own),
        "words_never_shown": len(own) - sum(own),
        "tags_shown_at_least_once": int(fired.any(0).sum()),
        "shown_precision": float(right.sum() / max(fired.sum(), 1)),
        "shown_recall": float(right.sum() / truth[:, own].sum()),
        "shown_per_photo": [float(np.percentile(shown, p)) for p in (5, 25, 50, 75, 95)],
        "photos_without_tag": float((shown == 0).mean()),
    }


def word_columns(words: list[str]) -> np.ndarray:
    """Return for each yardstick word the tag that answers for it, or -1."""
    tags = read_tags()
    columns = []
    for word in words:
        forms = {word, word + "s"}
        # a tag of this very word before one that folds it into another
        found = [i for i, tag in enumerate(tags) if tag.name == word or tag.forms == forms]
        found += [i for i, tag in enumerate(tags) if tag.forms & forms]
        columns.append(found[0] if found else -1)
    return np.array(columns)


def figures(truth: np.ndarray, scores: np.ndarray) -> dict:
    """Return mAP, that of the frequency prior, and a 95 % interval: 1.96 bootstrap deviations.

    Photos are resampled; the deviation is used because copies of a positive raise the precision
    of every resample. A column of equal scores counts with its prior.
    """
    value, drawn = map_of_draws(truth, scores)
    margin = 1.96 * float(np.std(drawn))
    columns = frequent_columns(truth)
    return {
        "tags": len(columns),
        "map": value,
        "interval": [value - margin, value + margin],
        "prior": float(truth[:, columns].mean()),
    }


def map_of_draws(truth: np.ndarray, scores: np.ndarray) -> tuple[float, np.ndarray]:
    """Return the mAP of all photos and of `BOOTSTRAP_DRAWS` resamples, the same for any scores."""
    columns = frequent_columns(truth)

    def macro(chosen: np.ndarray) -> float:
        return float(np.mean([column_ap(truth[chosen, c], scores[chosen, c]) for c in columns]))

    count = len(truth)
    draws = [np.random.default_rng(i).integers(0, count, count) for i in range(BOOTSTRAP_DRAWS)]
    return macro(np.arange(count)), np.array([macro(draw) for draw in draws])


def frequent_columns(truth: np.ndarray) -> np.ndarray:
    """Return the columns with enough positives for an average precision."""
    return np.flatnonzero(truth.sum(0) >= LEAST_POSITIVES)


def column_ap(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the average precision; that of no knowledge where all scores are equal."""
    if truth.sum() == 0 or scores.min() == scores.max():
        return float(truth.mean())
    return average_precision(truth, scores)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--cache", "--run", "--folder"):
        parser.add_argument(name, type=Path, required=True)
    a = parser.parse_args()
    print(json.dumps(package(a.data, a.cache, a.run, a.folder), indent=2))

"""How well ram-mini's recipe scores words that no label taught it.

    python -m benchmarks.open_set --cache runs/cache --run runs/open --text runs/text \
        --from model/ram_model/weights/ram-mini

Five random sets of 20 tags that are shown and have ten positives on tars 10 and 11. For each set
they and their synonyms are taken out of tags and caption words; then projection and tag decoder are
trained from random weights on what is left, with text as queries (`--from` gives the image encoder
only: the packaged decoder has met the removed tags). The removed tags are scored by their text
alone, on tar 9 and on tars 10 and 11. "Permuted" is the same model with the names of a set
exchanged among each other. Prints
JSON; `runs/open/open_set.npz` keeps the scores. About six minutes of one CPU core.
"""

import argparse
import json
from pathlib import Path

import numpy as np
import torch
from torch import nn

from ram_model import Ram, load_folder
from research.ram_mini.open import embed, with_labels
from research.ram_mini.package import LEAST_POSITIVES, column_ap
from research.ram_mini.prepare import TagLine, read_tags
from research.ram_mini.student import mini_config
from research.ram_mini.tokens import Photos, encode_photos, train_on_tokens
from research.ram_mini.words import caption_labels, without_meanings

NUM_SETS, TAGS_PER_SET = 5, 20
PERMUTATIONS, BOOTSTRAPS = 100, 100
DECODER_STEPS, DECODER_LR = 300, 1e-3
WEIGHT_DECAY = 0.05
PROJECTION_STD = 0.1
START_BIAS = -3.0  # a tag is rare
THRESHOLDS = (0.05, 0.1, 0.15, 0.2, 0.25, 0.3, 0.35, 0.4, 0.5)


def main(cache: Path, run: Path, text: Path, start: Path) -> dict:
    """Train and score five models; return the figures."""
    encoder = load_folder(start).model
    assert isinstance(encoder, Ram)
    encode_photos(encoder, cache, run)
    photos = Photos(cache, run)
    tags = read_tags()
    truth = photos.targets(tags)
    positives = truth[photos.test_rows].sum(0)
    eligible = [i for i, t in enumerate(tags) if t.shown and positives[i] >= LEAST_POSITIVES]
    rows = np.concatenate([photos.threshold_rows, photos.test_rows])
    removed, scores, kept_map = [], [], []
    for number in range(NUM_SETS):
        chosen = np.random.default_rng(number).choice(eligible, TAGS_PER_SET, replace=False)
        names = [tags[tag] for tag in chosen]
        model, known = train_without(names, encoder, photos, tags, text)
        new = with_labels(model, embed(text, [tag.name for tag in names]))
        scores.append(1 / (1 + np.exp(-photos.logits(new, rows))))
        kept = photos.logits(model, photos.test_rows)
        kept_map.append(macro_ap(photos.targets(known)[photos.test_rows], kept))
        removed.append(chosen)
        print(
            json.dumps({"set": [tag.name for tag in names], "kept_map": kept_map[-1]}), flush=True
        )
    where = {"tar_9": np.arange(len(photos.threshold_rows))}
    where["tars_10_11"] = np.arange(len(photos.threshold_rows), len(rows))
    truths = [truth[rows][:, chosen].astype(np.float32) for chosen in removed]
    np.savez(run / "open_set.npz", scores=scores, truths=truths, removed=removed)
    found = {name: measure(scores, truths, at) for name, at in where.items()}
    return found | {"map_of_kept_tags": kept_map, "eligible": len(eligible)}


def train_without(
    removed: list[TagLine], encoder: Ram, photos: Photos, tags: list[TagLine], text: Path
) -> tuple[Ram, list[TagLine]]:
    """Return a model with text queries that never met the removed tags, and the tags it knows."""
    known = [tags[at] for at in without_meanings(tags, removed)]
    words = caption_labels([photos.words[row] for row in photos.train_rows], tags)
    others = [words[at] for at in without_meanings(words, removed)]
    gone = {t.name for t in [*tags, *words]} - {t.name for t in [*known, *others]}
    print("without", sorted(gone), flush=True)
    labels = [*known, *others]
    torch.manual_seed(0)
    model = with_labels(Ram(mini_config(len(known))), embed(text, [label.name for label in labels]))
    model.image_encoder = encoder.image_encoder
    nn.init.normal_(model.label_projection.weight, std=PROJECTION_STD)
    nn.init.constant_(model.classifier.bias, START_BIAS)
    targets = photos.targets(labels)
    probe = photos.probe(targets)
    trained = [p for n, p in model.named_parameters()
               if not n.startswith("image_encoder.") and n != "label_embeddings"]  # fmt: skip
    train_on_tokens(
        model,
        [{"params": trained, "lr": DECODER_LR, "weight_decay": WEIGHT_DECAY}],
        photos,
        targets,
        lambda tokens, columns: probe(tokens.mean(1))[:, columns],
        num_tags=len(known),
        steps=DECODER_STEPS,
    )
    return with_labels(model, model.label_embeddings[: len(known)]), known


def macro_ap(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean average precision of the columns with ten positives."""
    columns = np.flatnonzero(truth.sum(0) >= LEAST_POSITIVES)
    return float(np.mean([column_ap(truth[:, c].astype(float), scores[:, c]) for c in columns]))


def measure(scores: list[np.ndarray], truths: list[np.ndarray], at: np.ndarray) -> dict:
    """Return the figures of the removed tags of all sets on some photos.

    Intervals are 95 % by resampling photos, of the mean over sets; the permuted names are drawn
    anew for each resample.
    """
    scores, truths = [s[at] for s in scores], [t[at] for t in truths]
    sets = [set_figures(s, t) for s, t in zip(scores, truths, strict=True)]
    draws = []
    for number in range(BOOTSTRAPS):
        random = np.random.default_rng(number)
        rows = random.integers(0, len(at), len(at))
        values = []
        for s, t in zip(scores, truths, strict=True):
            order = random.permutation(TAGS_PER_SET)
            ap, permuted = _mean_ap(t[rows], s[rows]), _mean_ap(t[rows], s[rows][:, order])
            values.append([ap, permuted, ap / max(float(t[rows].mean()), 1e-9), ap - permuted])
        draws.append(np.mean(values, axis=0))
    margins = 1.96 * np.std(draws, axis=0)
    means = {name: float(np.mean([one[name] for one in sets])) for name in sets[0]}
    names = ("ap", "permuted", "times_prevalence", "gain_over_permuted")
    intervals = {
        name: [round(means[name] - m, 4), round(means[name] + m, 4)]
        for name, m in zip(names, margins, strict=True)
    }
    return {
        "mean": means,
        "intervals": intervals,
        "sets": sets,
        "thresholds": threshold_table(np.concatenate(scores, 1), np.concatenate(truths, 1)),
    }


def set_figures(scores: np.ndarray, truth: np.ndarray) -> dict[str, float]:
    """Return macro AP, prevalence, and the mean over permutations of the names."""
    orders = [np.random.default_rng(i).permutation(TAGS_PER_SET) for i in range(PERMUTATIONS)]
    permuted = [_mean_ap(truth, scores[:, order]) for order in orders]
    ap, prevalence = _mean_ap(truth, scores), float(truth.mean())
    return {
        "ap": ap,
        "prevalence": prevalence,
        "permuted": float(np.mean(permuted)),
        "permuted_at_best": float(np.max(permuted)),
        "times_prevalence": ap / prevalence,
        "gain_over_permuted": ap - float(np.mean(permuted)),
    }


def _mean_ap(truth: np.ndarray, scores: np.ndarray) -> float:
    return float(np.mean([column_ap(truth[:, c], scores[:, c]) for c in range(truth.shape[1])]))


def threshold_table(scores: np.ndarray, truth: np.ndarray) -> list[dict[str, float]]:
    """Return precision, recall and shown tags per photo and tag at some thresholds, pooled."""
    table = []
    for threshold in THRESHOLDS:
        fired = scores > threshold
        right = float((fired & (truth > 0)).sum())
        table.append(
            {
                "threshold": threshold,
                "precision": round(right / max(float(fired.sum()), 1), 3),
                "recall": round(right / float(truth.sum()), 3),
                "fired": int(fired.sum()),
            }
        )
    return table


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--cache", "--run", "--text"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--from", type=Path, dest="start", required=True, help="model folder")
    a = parser.parse_args()
    print(json.dumps(main(a.cache, a.run, a.text, a.start), indent=2))

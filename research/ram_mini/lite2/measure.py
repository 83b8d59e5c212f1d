"""The old and the new ram-mini on the same photos, by the same rules.

    python -m research.ram_mini.lite2.measure --data ../shared/data --cache CACHE \
        --old OLD --new NEW

Flickr8k's tars 10 and 11: the plain-word yardstick, the old tags, a linear probe on frozen Lite2
features. `coco_mini`: drawn objects. Intervals are 95 %, by resampling photos, of the gain.
"""

import argparse
import io
import json
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from ram_model import Tagger, Vocabulary
from ram_model.files.pretrained import open_model
from ram_model.on_device import Network
from ram_model.transforms import resize_for_inference
from ram_model.vocabulary import OFF
from research.ram_mini.lite2.features import Features
from research.ram_mini.lite2.photos import TEST_TARS, Photo, read_photos
from research.ram_mini.lite2.vocabulary import coco_names
from research.ram_mini.package import column_ap
from research.ram_mini.prepare import caption_words, read_tags
from research.ram_mini.probe import fit_probe

LEAST_POSITIVES = 10
DRAWS = 100
BATCH_SIZE = 8
SPEED_SECONDS = 4.0


def scores_of(folder: Path, photos: list[Photo]) -> tuple[Vocabulary, np.ndarray]:
    """Return the vocabulary and the scores [photos, C] of a model folder."""
    opened = open_model(folder)
    network = Network(opened.model, torch.device("cpu"), "fp32", compile=False)
    side = opened.config.image_size_px
    parts = []
    with torch.inference_mode():
        for start in range(0, len(photos), BATCH_SIZE):
            part = photos[start : start + BATCH_SIZE]
            pixels = np.stack([resize_for_inference(photo.image(), side) for photo in part])
            parts.append(network.logits(pixels).sigmoid().numpy())
    return opened.vocabulary, np.concatenate(parts)


def columns_for(vocabulary: Vocabulary, scores: np.ndarray, names: list[str]) -> np.ndarray:
    """Return the scores [photos, names]; a name that the model has no word for scores 0."""
    result = np.zeros((len(scores), len(names)), np.float32)
    for column, name in enumerate(names):
        tags = vocabulary.find(name) or vocabulary.find(name + "s")
        if tags:
            result[:, column] = scores[:, tags].max(1)
    return result


def gains(
    truth: np.ndarray, old: np.ndarray, new: np.ndarray, minimum: int
) -> dict[str, float | list[float]]:
    """Return both mAPs over columns with `minimum` positives, and the gain with its interval."""
    columns = np.flatnonzero(truth.sum(0) >= minimum)

    def both(rows: np.ndarray) -> tuple[float, float]:
        pairs = [
            [column_ap(truth[rows, c], scores[rows, c]) for scores in (old, new)] for c in columns
        ]
        mean = np.mean(pairs, axis=0).tolist()
        return mean[0], mean[1]

    count = len(truth)
    value = both(np.arange(count))
    draws = [both(np.random.default_rng(i).integers(0, count, count)) for i in range(DRAWS)]
    margins = 1.96 * np.std(np.array(draws), axis=0)
    margin = 1.96 * float(np.std([b - a for a, b in draws]))
    gain = value[1] - value[0]
    return {
        "columns": len(columns),
        "prior": float(truth[:, columns].mean()),
        "old": value[0],
        "old_margin": float(margins[0]),
        "new": value[1],
        "new_margin": float(margins[1]),
        "gain": [gain - margin, gain + margin],
    }


def yardstick_truth(photos: list[Photo], words: list[str]) -> np.ndarray:
    """Return float32 [photos, words]: captions say the word or its plural."""
    said = [caption_words(photo.captions) for photo in photos]
    return np.array([[w in own or w + "s" in own for w in words] for own in said], np.float32)


def shown_figures(vocabulary: Vocabulary, scores: np.ndarray, truth: np.ndarray) -> dict:
    """Return how much is shown, and how much of what captions mention, over the old tags."""
    fired = scores > vocabulary.thresholds
    old = [tag for tag in read_tags() if tag.shown]
    found = [vocabulary.find(tag.name) for tag in old]
    shown = np.stack([fired[:, tags].any(1) if tags else fired[:, 0] & False for tags in found], 1)
    counts = fired.sum(1)
    return {
        "photos_without_tag": float((counts == 0).mean()),
        "median_shown": float(np.median(counts)),
        "recall_of_mentions": float((shown & (truth > 0)).sum() / truth.sum()),
        "precision_by_mentions": float((shown & (truth > 0)).sum() / shown.sum()),
        "tags_shown_at_least_once": int(fired.any(0).sum()),
    }


def speed(folder: Path) -> float:
    """Return images per second of one thread, model only, batches of eight."""
    opened = open_model(folder)
    network = Network(opened.model, torch.device("cpu"), "fp32", compile=False)
    side = opened.config.image_size_px
    pixels = np.random.default_rng(0).integers(0, 255, (BATCH_SIZE, side, side, 3), np.uint8)
    with torch.inference_mode():
        network.logits(pixels)
        started, count = time.process_time(), 0
        while time.process_time() - started < SPEED_SECONDS:
            network.logits(pixels)
            count += BATCH_SIZE
        return count / (time.process_time() - started)


class Figures(dict[str, object]):
    """What was measured; each figure is printed as soon as it is known."""

    def __setitem__(self, name: str, value: object) -> None:
        super().__setitem__(name, value)
        print(json.dumps({name: value}), flush=True)


def demo_tags(folder: Path) -> dict[str, list[str]]:
    """Return the first three tags of each photo of the demo."""
    from ram_ray.demo.photos import PHOTOS, read_photo

    tagger = Tagger.load(folder, top_k=3)
    return {
        photo.name: tagger.tag_image(Image.open(io.BytesIO(read_photo(photo))).convert("RGB")).names
        for photo in PHOTOS
    }


def main(data: Path, cache: Path, old: Path, new: Path) -> Figures:
    """Measure; every figure is printed as a line of JSON, and returned."""
    torch.set_num_threads(1)
    photos = list(read_photos(data))
    test = [p for p in photos if p.group in {f"flickr_{n}" for n in TEST_TARS}]
    coco = [p for p in photos if p.group == "coco_mini"]
    result = Figures()
    models = {name: folder for name, folder in (("old", old), ("new", new))}
    on_test = {name: scores_of(folder, test) for name, folder in models.items()}
    on_coco = {name: scores_of(folder, coco) for name, folder in models.items()}

    words = (data / "labels/flickr8k_plain_words.txt").read_text().split()
    truth = yardstick_truth(test, words)
    answers = {name: yardstick_scores(v, s, words) for name, (v, s) in on_test.items()}
    result["yardstick"] = gains(truth, answers["old"], answers["new"], LEAST_POSITIVES)
    features = Features(cache)
    train = np.flatnonzero(features.has_captions)
    everything = np.array(
        [[w in own or w + "s" in own for w in words] for own in features.words], np.float32
    )
    probe = fit_probe(features.pooled(train), everything[train])
    probed = probe(features.pooled(features.test_rows)).numpy()
    result["against_probe"] = gains(truth, probed, answers["new"], LEAST_POSITIVES)

    old_tags = [tag for tag in read_tags() if tag.shown]
    said = [caption_words(photo.captions) for photo in test]
    mentioned = np.array([[bool(t.forms & own) for t in old_tags] for own in said], np.float32)
    names = [tag.name for tag in old_tags]
    result["old_tags"] = gains(
        mentioned,
        columns_for(*on_test["old"], names),
        columns_for(*on_test["new"], names),
        LEAST_POSITIVES,
    )
    result["shown"] = {n: shown_figures(v, s, mentioned) for n, (v, s) in on_test.items()}

    eighty = coco_names(data)
    drawn = np.array([[name in photo.labels for name in eighty] for photo in coco], np.float32)
    by_name = {name: columns_for(v, s, eighty) for name, (v, s) in on_coco.items()}
    for minimum in (1, 5):
        result[f"coco_{minimum}"] = gains(drawn, by_name["old"], by_name["new"], minimum)
    result["coco_names_known"] = {
        name: sum(bool(v.find(c) and v.thresholds[v.find(c)[0]] < OFF) for c in eighty)
        for name, (v, _) in on_coco.items()
    }
    result["coco_shown"] = {n: coco_shown(v, s, drawn, eighty) for n, (v, s) in on_coco.items()}
    result["images_per_second"] = {name: speed(folder) for name, folder in models.items()}
    result["demo"] = {name: demo_tags(folder) for name, folder in models.items()}
    result["bytes"] = {
        name: {p.name: p.stat().st_size for p in folder.rglob("*.safetensors")}
        | {"all": sum(p.stat().st_size for p in folder.rglob("*") if p.is_file())}
        for name, folder in models.items()
    }
    return result


def coco_shown(
    vocabulary: Vocabulary, scores: np.ndarray, drawn: np.ndarray, eighty: list[str]
) -> dict[str, object]:
    """Return how much is shown on COCO's photos, and two mistakes that are told apart by eye.

    Args:
        scores: [photos, tags].
        drawn: [photos, 80], 1 where an object is drawn.
    """
    shown = (scores > vocabulary.thresholds).sum(1)
    return {
        "without": float((shown == 0).mean()),
        "median": float(np.median(shown)),
        "cats_called_dogs": _called(vocabulary, scores, drawn, eighty, "cat", "dog"),
        "man_without_person": _called(vocabulary, scores, 1 - drawn, eighty, "person", "man"),
    }


def yardstick_scores(vocabulary: Vocabulary, scores: np.ndarray, words: list[str]) -> np.ndarray:
    """Return the scores [photos, words] of the tag that answers for each word, 0 for none.

    A tag of this very word comes first, then one whose caption words have it (the first ram-mini's
    list), then an alias.
    """
    folded = {form: tag.name for tag in reversed(read_tags()) for form in sorted(tag.forms)}
    return columns_for(
        vocabulary,
        scores,
        [w if _own(vocabulary, w) else folded.get(w, folded.get(w + "s", w)) for w in words],
    )


def _own(vocabulary: Vocabulary, word: str) -> bool:
    return any(vocabulary.names[tag] in (word, word + "s") for tag in vocabulary.find(word))


def _called(
    vocabulary: Vocabulary,
    scores: np.ndarray,
    drawn: np.ndarray,
    names: list[str],
    there: str,
    shown: str,
) -> list[int]:
    """Return how many photos show a tag among those with an object, and how many these are."""
    rows = drawn[:, names.index(there)] > 0
    tag = vocabulary.find(shown)[0]
    return [int((scores[rows, tag] > vocabulary.thresholds[tag]).sum()), int(rows.sum())]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--cache", "--old", "--new"):
        parser.add_argument(name, type=Path, required=True)
    a = parser.parse_args()
    main(a.data, a.cache, a.old, a.new)

"""What the teachers say about every view to train on: soft targets of the tags.

    python -m research.ram_mini.lite2.teachers --data ../shared/data --wheels WHEELS \
        --cache CACHE --vocabulary VOCABULARY

- The class head of Lite2, on the whole view and on five windows of it; hypernyms are summed.
- FastestDet, for COCO's 80 objects and what is above them.
- Captions: what they say, and a linear probe on Lite2's features that was cross-fitted, so that a
  photo's own captions never made its soft targets.

Shape legend: N photos, R views, C tags, L further words of captions, K 1,000 classes.
"""

import argparse
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ram_model.vocabulary import read_lines
from ram_ray.labels.parser.caption_parser import CaptionParser
from research.ram_mini.lite2.detector import presence
from research.ram_mini.lite2.features import Features
from research.ram_mini.lite2.photos import GRID, IMAGENET
from research.ram_mini.lite2.source import load_network
from research.ram_mini.lite2.vocabulary import Words, load_words
from research.ram_mini.prepare import TagLine
from research.ram_mini.probe import fit_probe
from research.ram_mini.words import caption_labels, target_matrix

LEAST_CAPTIONED = 15  # photos whose captions say a tag, for captions to teach it
WINDOW = 4  # cells of a side, of the six of the whole view
WHOLE_SHARE = 0.6  # of the class head's word on the whole view, against the best window
LABEL_SHARE = 0.5  # of ImageNet's label, against the class head
SCENE_SHARE = 0.8  # how much the things of a scene say about it
OTHER_SHARE = 0.8  # how much class head and detector say about a tag that captions teach
MENTION_SHARE = 0.5  # of what a photo's own captions say, against the probe's word
FOLDS = 4
WIDE_SCENES = ("indoors", "outdoors")  # told by mentions of their parts as well


class Targets(NamedTuple):
    """What is learned from."""

    soft: np.ndarray
    """float16 [R, C + L], of all rows of the cache; rows that are not trained on are zero."""
    others: list[TagLine]
    """The L further words."""
    by_captions: np.ndarray
    """bool [C]: captions teach the tag."""


def make_targets(data: Path, wheels: Path, cache: Path, words: Words) -> Targets:
    """Return the soft targets of all views to train on."""
    features = Features(cache)
    said = caption_truth(features, words)
    np.save(cache / "said.npy", said)
    by_captions = said[features.has_captions].sum(0) >= LEAST_CAPTIONED
    trained = np.flatnonzero(features.has_captions)
    others = caption_labels([features.words[n] for n in trained], tag_lines(words))
    further = target_matrix(features.words, others)
    mentioned = np.concatenate([said, further], axis=1)
    learnable = np.concatenate([by_captions, np.ones(len(others), bool)])
    captions = cross_fitted(features, mentioned, learnable)

    classes = class_probabilities(features, wheels, data)
    objects = presence(cache, features.views[features.train_rows])
    things = np.maximum(classes @ words.class_tags.astype(np.float32), 0).clip(0, 1)
    things = np.maximum(things, _best(objects, words.detector_tags))
    things = add_scenes(things, words)
    person = words.names.index("person")
    captions = hide_people(features, captions, objects[:, 0], words, len(others))
    soft = union(captions, things, learnable, mentioned[features.photo_of[features.train_rows]])
    soft[:, person] = np.maximum(soft[:, person], objects[:, 0])
    result = np.zeros((len(features.views), soft.shape[1]), np.float16)
    result[features.train_rows] = soft
    return Targets(result, others, by_captions)


def tag_lines(words: Words) -> list[TagLine]:
    """Return the tags as lines of the first recipe."""
    rows = zip(words.names, words.vocabulary.kinds, words.forms, strict=True)
    return [TagLine(name, kind, forms) for name, kind, forms in rows]


def caption_truth(features: Features, words: Words) -> np.ndarray:
    """Return bool [N, C]: captions say the tag or one below it.

    By our parser, and by the word lists of the first ram-mini for its tags, so that what these
    mean stays the same.
    """
    texts = [(n, text) for n, photo in enumerate(features.photos) for text in photo["captions"]]
    table = CaptionParser(words.vocabulary).parse(
        [text for _, text in texts], [n for n, _ in texts]
    )
    said = features.said(words.forms)
    for (number, _), tags in zip(texts, table["tag_ids"].to_pylist(), strict=True):
        said[number, tags] = True
    said |= (said.astype(np.float32) @ words.above.astype(np.float32)) > 0
    for scene, parts in words.scene_parts.items():
        if words.names[scene] in WIDE_SCENES:
            said[:, scene] |= said[:, parts].any(1)
    return said


def cross_fitted(features: Features, mentioned: np.ndarray, learnable: np.ndarray) -> np.ndarray:
    """Return float32 [training rows, C + L]: a linear probe's probability that captions say it."""
    rows = features.train_rows
    numbers = features.photo_of[rows]
    fold_of = np.array([int(g.rpartition("_")[2]) % FOLDS if g != IMAGENET else FOLDS
                        for g in features.group[numbers]])  # fmt: skip
    pooled = features.pooled(rows)
    whole = rows < len(features.photos)
    found = np.zeros((len(rows), mentioned.shape[1]), np.float32)
    for fold in range(FOLDS + 1):
        used = whole & features.has_captions[numbers] & (fold_of != fold)
        truth = mentioned[numbers[used]][:, learnable].astype(np.float32)
        probe = fit_probe(pooled[used], truth)
        mine = np.flatnonzero(fold_of == fold)
        found[np.ix_(mine, learnable)] = probe(pooled[mine]).sigmoid().numpy()
        print("probe", fold, flush=True)
    return found


@torch.inference_mode()
def class_probabilities(features: Features, wheels: Path, data: Path) -> np.ndarray:
    """Return float32 [training rows, K], of the whole view and the best of five windows; the label
    of ImageNet's photos is mixed in."""
    head = load_network(wheels).get_submodule("classifier")
    starts = [(0, 0), (0, 2), (2, 0), (2, 2), (1, 1)]
    cells = np.arange(GRID * GRID).reshape(GRID, GRID)
    windows = [cells[y : y + WINDOW, x : x + WINDOW].ravel() for y, x in starts]
    parts = []
    for rows in np.array_split(features.train_rows, 200):
        tokens = features.batch(rows)
        pooled = torch.stack([tokens.mean(1), *(tokens[:, w].mean(1) for w in windows)])
        found: Tensor = head(pooled).softmax(-1)
        parts.append((WHOLE_SHARE * found[0] + (1 - WHOLE_SHARE) * found[1:].amax(0)).numpy())
    classes = np.concatenate(parts)
    labelled, label = imagenet_labels(features, data)
    known = np.isin(features.photo_of[features.train_rows], labelled)
    classes[known] *= 1 - LABEL_SHARE
    columns = label[features.photo_of[features.train_rows][known]]
    classes[np.flatnonzero(known), columns] += LABEL_SHARE
    return classes


def imagenet_labels(features: Features, data: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the numbers of ImageNet's photos, and the class of each photo (0 where unknown)."""
    synsets = read_lines(data / "labels/imagenet1k_synsets.txt")
    label = np.zeros(len(features.photos), int)
    numbers = features.rows_of(IMAGENET)
    for number in numbers:  # a photo's name begins with its synset
        label[number] = synsets.index(features.photos[number]["name"].partition("_")[0])
    return numbers, label


def add_scenes(things: np.ndarray, words: Words) -> np.ndarray:
    """Return the same with what the things of a scene say about it."""
    result = things.copy()
    for scene, parts in words.scene_parts.items():
        likely = SCENE_SHARE * things[:, parts].max(1)
        for tag in np.flatnonzero(words.above[scene]):
            result[:, tag] = np.maximum(result[:, tag], likely)
    return result


def hide_people(
    features: Features, captions: np.ndarray, person: np.ndarray, words: Words, num_others: int
) -> np.ndarray:
    """Return the probe's word, but on ImageNet's photos what is said of people only as far as the
    detector finds one: Flickr8k's captions speak of people nearly always.

    Args:
        person: float [training rows], how surely there is one.
    """
    top = words.names.index("person")
    clothing = words.names.index("clothing")
    kinds = np.array(words.vocabulary.kinds)
    of_people = words.above[:, top] | words.above[:, clothing] | (kinds == "action")
    of_people = np.concatenate([of_people, np.ones(num_others, bool)])
    rows = np.flatnonzero(features.group[features.photo_of[features.train_rows]] == IMAGENET)
    result = captions.copy()
    result[np.ix_(rows, of_people)] *= person[rows, None]
    return result


def union(
    captions: np.ndarray, things: np.ndarray, learnable: np.ndarray, mentioned: np.ndarray
) -> np.ndarray:
    """Return the targets [training rows, C + L] of what captions, and of what the others say."""
    soft = (1 - MENTION_SHARE) * captions + MENTION_SHARE * mentioned
    soft[:, ~learnable] = mentioned[:, ~learnable]
    count = things.shape[1]
    share = np.where(learnable[:count], OTHER_SHARE, 1.0)
    soft[:, :count] = 1 - (1 - soft[:, :count]) * (1 - share * things)
    return soft


def _best(scores: np.ndarray, tags: np.ndarray) -> np.ndarray:
    """Return float32 [rows, C]: the highest score of a class that is of the tag."""
    result = np.zeros((len(scores), tags.shape[1]), np.float32)
    for column in range(scores.shape[1]):
        own = np.flatnonzero(tags[column])
        result[:, own] = np.maximum(result[:, own], scores[:, column : column + 1])
    return result


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--wheels", "--cache", "--vocabulary"):
        parser.add_argument(name, type=Path, required=True)
    a = parser.parse_args()
    targets = make_targets(a.data, a.wheels, a.cache, load_words(a.data, a.vocabulary))
    np.savez(a.cache / "targets.npz", soft=targets.soft, by_captions=targets.by_captions,
             others=[t.name for t in targets.others])  # fmt: skip
    print(targets.soft.shape, "targets;", int(targets.by_captions.sum()), "tags by captions")

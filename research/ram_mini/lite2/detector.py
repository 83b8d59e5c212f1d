"""What FastestDet finds in the training photos: the teacher of COCO's 80 objects.

    python -m research.ram_mini.lite2.detector --data ../shared/data --cache CACHE

Two minutes of one CPU core. The detector (BSD-3) is used as a teacher here and never shipped.
"""

import argparse
from pathlib import Path

import numpy as np

from ram_model.vocabulary import Vocabulary, read_lines
from ram_ray.data_engine.look.onnx_detector import OnnxDetector
from research.ram_mini.lite2.photos import TRAINING_GROUPS, read_photos

NUM_CLASSES = 80
LEAST_SCORE = 0.25
SURE = ((0.0, 0.0), (0.3, 0.0), (0.5, 0.5), (0.7, 0.95), (1.0, 1.0))
"""From its score to how likely the object is there; read off by eye, not measured."""


def detect(data: Path, cache: Path) -> None:
    """Write detections.npy, float32 [found, 7]: photo number, class, score, box."""
    names = read_lines(data / "teachers/coco.names")
    vocabulary = Vocabulary(names=tuple(names), thresholds=np.zeros(len(names), np.float32))
    detector = OnnxDetector(data / "teachers/FastestDet.onnx", names, vocabulary)
    found = []
    for number, photo in enumerate(read_photos(data)):
        if photo.group not in TRAINING_GROUPS:
            continue
        boxes, scores = detector._detect(np.asarray(photo.image()))  # all classes at once
        for cell, one in zip(*np.nonzero(scores > LEAST_SCORE), strict=True):
            found.append((number, one, scores[cell, one], *boxes[cell].clip(0, 1)))
    np.save(cache / "detections.npy", np.array(found, np.float32))


def presence(cache: Path, views: np.ndarray) -> np.ndarray:
    """Return float32 [rows, 80]: how surely each object is in a view, 0..1.

    Args:
        views: [rows, 6], photo number, box, mirrored; an object is in the view with its centre.
    """
    found = np.load(cache / "detections.npy")
    first = np.searchsorted(found[:, 0], np.arange(int(views[:, 0].max()) + 2))
    result = np.zeros((len(views), NUM_CLASSES), np.float32)
    for row, (number, left, top, right, bottom, _) in enumerate(views):
        mine = found[first[int(number)] : first[int(number) + 1]]
        x, y = (mine[:, 3] + mine[:, 5]) / 2, (mine[:, 4] + mine[:, 6]) / 2
        mine = mine[(x >= left) & (x <= right) & (y >= top) & (y <= bottom)]
        np.maximum.at(result[row], mine[:, 1].astype(int), mine[:, 2])
    scores, sure = np.array(SURE).T
    return np.interp(result, scores, sure).astype(np.float32)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    a = parser.parse_args()
    detect(a.data, a.cache)

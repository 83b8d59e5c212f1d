"""What the locators find and cost: a real ONNX detector and the tagger's own windows.

    python -m benchmarks.data_engine_locators --data ../shared/data [--window-photos 20]

On the 80 COCO photos whose objects people labelled: of the tags on a photo, the share that is
located; of the regions' tags when all tags are asked for, the share that is on it; CPU time per
photo. Prints JSON. The windows are ram-mini's, over the COCO classes that it has a tag for.
"""

import argparse
import csv
import json
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image

from ram_model.tagger import Tagger
from ram_model.vocabulary import Vocabulary
from ram_ray.data_engine.config import WindowConfig
from ram_ray.data_engine.look.locators import Locator, check_regions
from ram_ray.data_engine.look.onnx_detector import COCO_SYNONYMS, DetectorConfig, OnnxDetector
from ram_ray.data_engine.look.windows import WindowLocator

Photo = tuple[np.ndarray, set[str]]
SCORES = (0.25, 0.35, 0.5)


def read_photos(data: Path) -> list[Photo]:
    """Return the COCO photos and the names of what is on them."""
    photos = []
    with (data / "photos/MANIFEST.tsv").open() as file:
        for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE):
            if row["path"].startswith("coco_mini/"):
                with Image.open(data / "photos" / row["path"]) as image:
                    pixels = np.asarray(image.convert("RGB"))
                photos.append((pixels, set(row["labels"].split(","))))
    return photos


def measure(
    locator: Locator, names: Sequence[str], tag_ids: Sequence[int], photos: Sequence[Photo]
) -> dict[str, Any]:
    """Return what one locator finds of these tags."""
    there = found = right = 0
    problems: list[str] = []
    started = time.process_time()
    for pixels, labels in photos:
        good, bad = check_regions(locator.regions(pixels, tag_ids), tag_ids)
        problems += bad
        located = {region.tag_id for region in good}
        present = {tag_id for tag_id in tag_ids if names[tag_id] in labels}
        there += len(present)
        found += len(located)
        right += len(located & present)
    return {
        "tags": len(tag_ids),
        "located": right / max(1, there),
        "precision": right / max(1, found),
        "unusable_regions": len(problems),
        "cpu_ms_per_photo": 1000 * (time.process_time() - started) / len(photos),
    }


def main() -> None:
    """Print the measures as JSON."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--window-photos", type=int, default=80, help="0: no windows")
    arguments = parser.parse_args()
    data = arguments.data
    torch.set_num_threads(1)
    photos = read_photos(data)
    lines: list[str] = (data / "teachers/coco.names").read_text().split("\n")
    classes = [line.strip() for line in lines if line.strip()]
    coco: list[str] = [COCO_SYNONYMS.get(name, name) for name in classes]
    tags = Vocabulary(names=tuple(coco), thresholds=np.full(len(coco), 0.5, np.float32))
    results = {}
    for score in SCORES:
        config = DetectorConfig(min_score=score)
        detector = OnnxDetector(data / "teachers/FastestDet.onnx", classes, tags, config)
        results[f"FastestDet, score {score}"] = measure(detector, coco, detector.tag_ids, photos)
    if arguments.window_photos:
        results |= measure_windows(coco, photos[: arguments.window_photos])
    print(json.dumps({"photos": len(photos), "locators": results}, indent=1))


def measure_windows(coco: Sequence[str], photos: Sequence[Photo]) -> dict[str, Any]:
    """Return the measures of ram-mini's windows at two scores."""
    tagger = Tagger.load("ram-mini", batch_size=16)
    results = {}
    names = tagger.vocabulary.names
    shared = [tag_id for tag_id, name in enumerate(names) if name in coco]
    for score in (0.3, 0.5):
        locator = WindowLocator(tagger, WindowConfig(min_score=score))
        found = measure(locator, names, shared, photos)
        results[f"windows of ram-mini, score {score}"] = found | {
            "passes_per_photo": locator.passes_per_image,
            "photos": len(photos),
        }
    return results


if __name__ == "__main__":
    main()

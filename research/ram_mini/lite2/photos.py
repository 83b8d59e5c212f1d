"""The photos of the recipe, and what Lite2 makes of them: cached features.

    python -m research.ram_mini.lite2.photos --data ../shared/data --wheels WHEELS --cache CACHE

Eight minutes of one CPU core; writes 2.2 GB. Training photos (tars 0 - 8 of Flickr8k, ImageNet's
sample) have four views: the whole photo, its mirror image, two random crops. All others have one.
"""

import argparse
import csv
import io
import json
import tarfile
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple, cast

import numpy as np
import torch
from PIL import Image
from timm.layers.norm_act import freeze_batch_norm_2d
from timm.models import EfficientNet
from torch import nn

from ram_model.folding import fold_batch_norms
from ram_model.transforms import resize_for_inference
from research.ram_mini.lite2.source import load_network
from research.ram_mini.prepare import has_fast_bfloat16

IMAGE_SIZE_PX = 192
GRID = 6
NUM_VIEWS = 4
WIDTH = 1280
NUM_PROCESSES = 2
CAPTION_TARS, THRESHOLD_TAR, TEST_TARS = range(9), 9, (10, 11)
IMAGENET = "imagenet"
TRAINING_GROUPS = (*(f"flickr_{n}" for n in CAPTION_TARS), IMAGENET)
LOOSE_GROUPS = ("coco_mini", "coco_train2014_100_224", "flickr8k_224", "imagenet_sample_1000")


Place = tuple[float, float, float, float, float]
"""Left, top, right, bottom of a view as parts of the photo's sides, and 1 if it is mirrored."""


class Photo(NamedTuple):
    """A photo and what people wrote about it."""

    group: str
    """flickr_0 ... flickr_11, imagenet, or a folder of `photos/`."""
    name: str
    captions: list[str]
    labels: list[str]
    """COCO's drawn objects, or the class of ImageNet."""
    data: bytes

    def image(self) -> Image.Image:
        """Return it as RGB."""
        return Image.open(io.BytesIO(self.data)).convert("RGB")


def read_photos(data: Path) -> Iterator[Photo]:
    """Yield all photos of the recipe; of `flickr8k_224` those that are in no tar."""
    flickr_names = set()
    for number, path in enumerate(sorted((data / "flickr8k_train").glob("*.tar"))):
        for name, facts, content in _tar_photos(path):
            flickr_names.add(facts["file_name"])
            yield Photo(f"flickr_{number}", name, facts["captions"], [], content)
    for path in sorted((data / "imagenet_sample_train").glob("*.tar")):
        for name, facts, content in _tar_photos(path):
            yield Photo(IMAGENET, name, [], [facts["labels"]], content)
    with (data / "photos/MANIFEST.tsv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file, delimiter="\t"))
    for group in LOOSE_GROUPS:
        for row in rows:
            path = Path(row["path"])
            if path.parts[0] != group or path.name in flickr_names:
                continue
            captions = [c.strip() for c in (row["captions"] or "").split(" | ") if c.strip()]
            separator = "," if group.startswith("coco") else "\n"
            labels = [one for one in (row["labels"] or "").split(separator) if one]
            content = (data / "photos" / path).read_bytes()
            yield Photo(group, path.stem, captions, labels, content)


def _tar_photos(path: Path) -> Iterator[tuple[str, dict, bytes]]:
    with tarfile.open(path) as tar:
        for name in sorted(n for n in tar.getnames() if n.endswith(".json")):
            stem = name.removesuffix(".json")
            facts, photo = tar.extractfile(name), tar.extractfile(f"{stem}.jpg")
            assert facts is not None, name
            assert photo is not None, name
            yield stem, json.loads(facts.read()), photo.read()


def views_of(photo: Photo, seed: int) -> list[tuple[np.ndarray, Place]]:
    """Return pixels uint8 [192, 192, 3] of each view, and where it lies."""
    image, random = photo.image(), np.random.default_rng(seed)
    whole = resize_for_inference(image, IMAGE_SIZE_PX)
    views: list[tuple[np.ndarray, Place]] = [(whole, (0.0, 0.0, 1.0, 1.0, 0.0))]
    if photo.group not in TRAINING_GROUPS:
        return views
    views.append((whole[:, ::-1], (0.0, 0.0, 1.0, 1.0, 1.0)))
    while len(views) < NUM_VIEWS:
        area, aspect = random.uniform(0.3, 1.0), np.exp(random.uniform(-0.3, 0.3))
        width, height = min(1, (area * aspect) ** 0.5), min(1, (area / aspect) ** 0.5)
        left, top = random.uniform(0, 1 - width), random.uniform(0, 1 - height)
        box = (left, top, left + width, top + height)
        wide, tall = image.size
        part = image.crop((box[0] * wide, box[1] * tall, box[2] * wide, box[3] * tall))
        crop = resize_for_inference(part, IMAGE_SIZE_PX)
        mirrored = bool(random.random() < 0.5)
        views.append((crop[:, ::-1] if mirrored else crop, (*box, float(mirrored))))
    return views


def cache_features(data: Path, wheels: Path, cache: Path) -> None:
    """Write photos.json, views.npy [rows, 6] (photo number, box, mirrored) and
    tokens.npy, float16 [rows, 36, 1280]: Lite2's last feature map; whole photos first."""
    cache.mkdir(parents=True, exist_ok=True)
    photos = list(read_photos(data))
    further = np.array([NUM_VIEWS - 1 if p.group in TRAINING_GROUPS else 0 for p in photos])
    later = len(photos) + np.cumsum(further) - further  # the other views follow the whole photos
    shape = (len(photos) + int(further.sum()), GRID * GRID, WIDTH)
    tokens = np.lib.format.open_memmap(cache / "partial.npy", "w+", np.float16, shape)
    places = np.zeros((len(tokens), 6), np.float32)
    with ProcessPoolExecutor(NUM_PROCESSES, initializer=_open_network, initargs=(wheels,)) as pool:
        for number, (maps, boxes) in enumerate(
            pool.map(_features_of, enumerate(photos), chunksize=16)
        ):
            rows = [number, *range(later[number], later[number] + len(maps) - 1)]
            tokens[rows] = maps
            places[rows, 0], places[rows, 1:] = number, np.array(boxes)
            if number % 500 == 0:
                print(f"{number} of {len(photos)} photos", flush=True)
    facts = [p._replace(data=b"")._asdict() | {"data": None} for p in photos]
    np.save(cache / "views.npy", places)
    (cache / "photos.json").write_text(json.dumps(facts))
    (cache / "partial.npy").rename(cache / "tokens.npy")  # last: its presence means complete


_network: nn.Module  # of a process of the pool


def _open_network(wheels: Path) -> None:
    global _network
    torch.set_num_threads(1)
    _network = freeze_batch_norm_2d(load_network(wheels))
    fold_batch_norms(_network)  # twice as fast


def _features_of(numbered: tuple[int, Photo]) -> tuple[np.ndarray, list[Place]]:
    """Return the features of all views of a photo, and their boxes.

    Views to train on are computed in bfloat16, at 2.5 times the speed; the others, which are
    measured on, in float32 as in use.
    """
    number, photo = numbered
    pixels, boxes = zip(*views_of(photo, number), strict=True)
    fast = has_fast_bfloat16() and photo.group in TRAINING_GROUPS
    return features(_network, np.stack(pixels), fast=fast), list(boxes)


@torch.inference_mode()
def features(network: nn.Module, pixels: np.ndarray, *, fast: bool = False) -> np.ndarray:
    """Return float16 [B, 36, 1280] of uint8 [B, 192, 192, 3]; the network reads -1 .. 1."""
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.autocast("cpu", torch.bfloat16, enabled=fast):
        map_BVHW = cast(EfficientNet, network).forward_features(
            images.contiguous(memory_format=torch.channels_last)
        )
    return map_BVHW.flatten(2).transpose(1, 2).half().numpy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--wheels", "--cache"):
        parser.add_argument(name, type=Path, required=True)
    a = parser.parse_args()
    cache_features(a.data, a.wheels, a.cache)

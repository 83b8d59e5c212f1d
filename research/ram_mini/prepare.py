"""Cache what ram-mini is trained from: pixels, caption tags, and what the teacher sees.

    python -m research.ram_mini.prepare --data ../shared/data --cache runs/cache

About 4 minutes on 2 CPU cores; writes 2.4 GB. Reads the 12 tars of `flickr8k_train` (captions), the
two of `imagenet_sample_train` (photos only) and SqueezeNet's weights, which are used as a teacher
here and never shipped. `--train-tars 6` caches less, for short ablations: of the training photos
only those of the first six tars, and the held-out ones without what the teacher sees.
"""

import argparse
import io
import json
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torchvision.models import squeezenet1_0

TAGS_FILE = Path(__file__).with_name("ram_mini_tags.txt")
TEACHER_FILE = "teachers/squeezenet1_0_decoded_torchvision_BGRmean.pt"
TEACHER_MEAN_BGR = (104.0, 117.0, 123.0)  # Caffe's; the file's README
TRAIN_SIZE_PX = 160  # room for crops of the 128 px input
TEST_SIZE_PX = 128
TEACHER_SIZE_PX = 256  # gives a 15 x 15 grid of 512 features
BATCH_SIZE = 50
HELD_OUT_TARS = (10, 11)


def prepare(data: Path, cache: Path, train_tars: int | None = None) -> None:
    """Write pixels_160.npy, pixels_128.npy, teacher_*.npy, teacher_classifier.pt and
    photos.json into `cache`.

    Args:
        train_tars: of the training photos take the first tars only; None: all.
    """
    cache.mkdir(parents=True, exist_ok=True)
    paths = sorted((data / "flickr8k_train").glob("*.tar"))
    paths += sorted((data / "imagenet_sample_train").glob("*.tar"))
    tars = dict(enumerate(paths))
    if train_tars is not None:
        tars = {n: path for n, path in tars.items() if n < train_tars or n in HELD_OUT_TARS}
    photos = [row for number, path in tars.items() for row in list_photos(number, path)]
    count = len(photos)
    large = new_array(cache / "pixels_160.npy", np.uint8, (count, TRAIN_SIZE_PX, TRAIN_SIZE_PX, 3))
    small = new_array(cache / "pixels_128.npy", np.uint8, (count, TEST_SIZE_PX, TEST_SIZE_PX, 3))
    maps = new_array(cache / "teacher_map.npy", np.float16, (count, 512, 15, 15))
    teacher = load_teacher(data)
    torch.save(classifier(teacher), cache / "teacher_classifier.pt")
    start = 0
    for number, path in tars.items():
        for images in batches_of_photos(path):
            stop = start + len(images)
            large[start:stop] = stack(images, TRAIN_SIZE_PX)
            small[start:stop] = stack(images, TEST_SIZE_PX)
            if train_tars is None or number not in HELD_OUT_TARS:
                maps[start:stop] = teacher_map(teacher, stack(images, TEACHER_SIZE_PX)).numpy()
            start = stop
        print(f"{start} of {count} photos", flush=True)
    (cache / "photos.json").write_text(json.dumps(photos))  # last: its presence means complete


def list_photos(number: int, path: Path) -> list[dict]:
    """Return one row per photo of a tar, by stem: tar number, stem, captions or None."""
    rows = []
    with tarfile.open(path) as tar:
        for name in sorted(n for n in tar.getnames() if n.endswith(".json")):
            captions = json.loads(read_member(tar, name)).get("captions")
            rows.append({"tar": number, "stem": name.removesuffix(".json"), "captions": captions})
    return rows


def batches_of_photos(path: Path) -> Iterator[list[Image.Image]]:
    """Yield the photos of a tar as RGB, in the order of `list_photos`."""
    with tarfile.open(path) as tar:
        names = sorted(n for n in tar.getnames() if n.endswith(".jpg"))
        for start in range(0, len(names), BATCH_SIZE):
            batch = names[start : start + BATCH_SIZE]
            files = [io.BytesIO(read_member(tar, name)) for name in batch]
            yield [Image.open(file).convert("RGB") for file in files]


def read_member(tar: tarfile.TarFile, name: str) -> bytes:
    """Return the content of a file in a tar."""
    member = tar.extractfile(name)
    assert member is not None, name
    return member.read()


def stack(images: list[Image.Image], side: int) -> np.ndarray:
    """Return uint8 [B, side, side, 3], resized as RAM's preprocessing does."""
    size = (side, side)
    return np.stack([np.asarray(i.resize(size, Image.Resampling.BILINEAR)) for i in images])


def new_array(path: Path, dtype: type, shape: tuple[int, ...]) -> np.ndarray:
    """Return an array that lives in a file."""
    return np.lib.format.open_memmap(path, "w+", dtype, shape)


def load_teacher(data: Path) -> nn.Module:
    """Return SqueezeNet in evaluation mode."""
    teacher = squeezenet1_0()
    teacher.load_state_dict(torch.load(data / TEACHER_FILE, weights_only=True))
    return teacher.eval().to(memory_format=torch.channels_last)


def classifier(teacher: nn.Module) -> list[Tensor]:
    """Return SqueezeNet's weight [1000, 512] and bias [1000] from features to classes."""
    layer: nn.Module = teacher.classifier[1]  # type: ignore[index]
    return [layer.weight.detach().flatten(1).contiguous(), layer.bias.detach()]  # type: ignore


@torch.inference_mode()
def teacher_map(teacher: nn.Module, pixels: np.ndarray) -> Tensor:
    """Return SqueezeNet's last feature map [B, 512, 15, 15], float16, >= 0.

    It is the mean over the photo and its mirror image, so that mirroring the map is as good as
    mirroring the photo; a crop of the photo is a crop of the map.
    """
    bgr = torch.from_numpy(pixels).permute(0, 3, 1, 2).flip(1).float()
    bgr = bgr - torch.tensor(TEACHER_MEAN_BGR).view(1, 3, 1, 1)
    bgr = bgr.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
        features: nn.Module = teacher.features  # type: ignore[assignment]
        both = features(bgr).float() + features(bgr.flip(3)).float().flip(3)
    return (both / 2).half()


def has_fast_bfloat16() -> bool:
    """Say whether bfloat16 pays: with AVX2 alone it is ten times slower than float32."""
    return torch.backends.cpu.get_cpu_capability().startswith("AVX512")


def caption_words(captions: list[str]) -> set[str]:
    """Return the lower-case words of all captions of a photo."""
    return set(re.findall(r"[a-z]+", " ".join(captions).lower()))


class TagLine(NamedTuple):
    """A tag of the vocabulary file."""

    name: str
    kind: str
    forms: frozenset[str]
    """Caption words that stand for it."""

    @property
    def shown(self) -> bool:
        """False for words that are learned for ranking only, because they make no good tag."""
        return self.kind != "other"


def read_tags() -> list[TagLine]:
    """Return the vocabulary in the order of its file."""
    tags, kind = [], ""
    for line in TAGS_FILE.read_text().splitlines():
        if line.startswith("["):
            kind = line.strip("[]")
        elif line and not line.startswith("#"):
            name, forms = line.split(":")
            tags.append(TagLine(name, kind, frozenset(forms.split())))
    return tags


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--train-tars", type=int)
    arguments = parser.parse_args()
    prepare(arguments.data, arguments.cache, arguments.train_tars)

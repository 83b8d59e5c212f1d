"""Cache what ram-mini is trained from: pixels, caption tags, and what the teacher sees.

    python jobs/prepare_ram_mini.py --data ../shared/data --cache runs/ram-mini

About 4 minutes on 2 CPU cores; writes 2.4 GB. Reads the 12 tars of `flickr8k_train` (captions), the
two of `imagenet_sample_train` (photos only) and SqueezeNet's weights, which are used as a teacher
here and never shipped.
"""

import argparse
import io
import json
import re
import tarfile
from pathlib import Path

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


def prepare(data: Path, cache: Path) -> None:
    """Write pixels_160.npy, pixels_128.npy, teacher_map.npy and photos.json into `cache`."""
    cache.mkdir(parents=True, exist_ok=True)
    tars = sorted((data / "flickr8k_train").glob("*.tar"))
    tars += sorted((data / "imagenet_sample_train").glob("*.tar"))
    photos = [row for number, path in enumerate(tars) for row in list_photos(number, path)]
    shape = (len(photos), TRAIN_SIZE_PX, TRAIN_SIZE_PX, 3)
    large = new_array(cache / "pixels_160.npy", np.uint8, shape)
    small = new_array(cache / "pixels_128.npy", np.uint8, (len(photos), 128, 128, 3))
    maps = new_array(cache / "teacher_map.npy", np.float16, (len(photos), 512, 15, 15))
    teacher = load_teacher(data)
    for start in range(0, len(photos), BATCH_SIZE):
        rows = photos[start : start + BATCH_SIZE]
        images = [read_photo(tars[row["tar"]], row["stem"]) for row in rows]
        stop = start + len(rows)
        large[start:stop] = stack(images, TRAIN_SIZE_PX)
        small[start:stop] = stack(images, TEST_SIZE_PX)
        maps[start:stop] = teacher_map(teacher, stack(images, TEACHER_SIZE_PX)).numpy()
        print(f"{stop} of {len(photos)} photos", flush=True)
    (cache / "photos.json").write_text(json.dumps(photos))  # last: its presence means complete


def list_photos(number: int, path: Path) -> list[dict]:
    """Return one row per photo of a tar: tar number, stem, and the words of its captions."""
    rows = []
    with tarfile.open(path) as tar:
        for name in sorted(n for n in tar.getnames() if n.endswith(".json")):
            member = tar.extractfile(name)
            assert member is not None
            captions = json.load(member).get("captions")
            rows.append({"tar": number, "stem": name[: -len(".json")], "captions": captions})
    return rows


def read_photo(path: Path, stem: str) -> Image.Image:
    """Return the photo as RGB."""
    with tarfile.open(path) as tar:
        member = tar.extractfile(stem + ".jpg")
        assert member is not None
        return Image.open(io.BytesIO(member.read())).convert("RGB")


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


@torch.inference_mode()
def teacher_map(teacher: nn.Module, pixels: np.ndarray) -> Tensor:
    """Return SqueezeNet's last feature map [B, 512, 15, 15], float16, >= 0.

    It is the mean over the photo and its mirror image, so that mirroring the map is as good as
    mirroring the photo; a crop of the photo is a crop of the map.
    """
    bgr = torch.from_numpy(pixels).permute(0, 3, 1, 2).flip(1).float()
    bgr = bgr - torch.tensor(TEACHER_MEAN_BGR).view(1, 3, 1, 1)
    bgr = bgr.contiguous(memory_format=torch.channels_last)
    with torch.autocast("cpu", torch.bfloat16):
        features: nn.Module = teacher.features  # type: ignore[assignment]
        both = features(bgr).float() + features(bgr.flip(3)).float().flip(3)
    return (both / 2).half()


def caption_words(captions: list[str]) -> set[str]:
    """Return the lower-case words of all captions of a photo."""
    return set(re.findall(r"[a-z]+", " ".join(captions).lower()))


def read_tags() -> dict[str, set[str]]:
    """Return the vocabulary: tag -> the caption words that stand for it."""
    lines = [line.strip() for line in TAGS_FILE.read_text().splitlines()]
    pairs = [line.split(":") for line in lines if line and not line.startswith("#")]
    return {name: set(forms.split()) for name, forms in pairs}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--cache", type=Path, required=True)
    arguments = parser.parse_args()
    prepare(arguments.data, arguments.cache)

"""A tiny run: coloured photos in two tars, one tag per colour."""

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from torch import Tensor

from ram_ray.training.config import TrainConfig

TAGS = ("red", "green", "blue")


def assert_same_weights(
    found: dict[str, Tensor], expected: dict[str, Tensor], *, key_bias: float = 1e-3
) -> None:
    """Compare tensor by tensor: 1e-4 of its norm.

    The biases of attention keys change no output (softmax ignores a shift) and have no gradient in
    theory; Adam makes full steps of its noise, which differs from machine to machine. They are
    compared number by number: key_bias is at most twice the learning rate times the steps.
    """
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        here = found[name]
        if name.endswith("key.bias"):
            assert (here - tensor).abs().max() <= key_bias, name
            continue
        if name.endswith(("qkv.bias", "in_proj_bias")):
            keys = slice(len(tensor) // 3, 2 * len(tensor) // 3)
            assert (here[keys] - tensor[keys]).abs().max() <= key_bias, name
            here, tensor = here.clone(), tensor.clone()
            here[keys] = tensor[keys] = 0
        off = (here - tensor).norm()
        assert off <= 1e-4 * tensor.norm() + 1e-6, f"{name}: {off:.3g} of {tensor.norm():.3g}"


def photo(number: int) -> bytes:
    """Return a PNG of the colour that its number stands for, with some noise."""
    rng = np.random.default_rng(number)
    pixels = rng.integers(0, 90, (40, 48, 3), np.uint8)
    pixels[..., number % 3] += 150
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, "PNG")
    return out.getvalue()


def write_tar(path: Path, numbers: range) -> None:
    """Write photos as a WebDataset tar, with a JSON of captions beside each."""
    with tarfile.open(path, "w") as tar:
        for number in numbers:
            captions = {"captions": [f"A {TAGS[number % 3]} wall ."]}
            members = {"png": photo(number), "json": json.dumps(captions).encode()}
            for suffix, data in members.items():
                info = tarfile.TarInfo(f"photo-{number:04d}.{suffix}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))


def write_scene(folder: Path, count: int = 22) -> dict[str, Any]:
    """Write data, labels and vocabulary; return the settings of a tiny run on them."""
    (folder / "data").mkdir(parents=True)
    half = count // 2
    write_tar(folder / "data" / "a.tar", range(half))
    write_tar(folder / "data" / "b.tar", range(half, count))
    rows = [{"image_id": f"photo-{n:04d}.png", "tags": [TAGS[n % 3]]} for n in range(count)]
    (folder / "labels.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "tags.txt").write_text("\n".join(TAGS) + "\n")
    return {
        "data": str(folder / "data"),
        "labels": str(folder / "labels.jsonl"),
        "vocabulary": str(folder / "tags.txt"),
        "output": str(folder / "run"),
        "variant": "tiny",
        "image_size_px": 32,
        "epochs": 2,
        "batch_size": 8,
        "micro_batch_size": 4,
        "learning_rate": 1e-3,
        "warmup_steps": 2,
        "num_decoders": 0,
        "checkpoint_steps": 2,
        "log_steps": 1,
        "device": "cpu",
        "dropout": False,
        "tensorboard": False,
        "audit": str(folder / "audit"),
    }


def config_of(settings: dict[str, Any], **changes: Any) -> TrainConfig:
    """Return the configuration of a scene's settings, some of them changed."""
    return TrainConfig(**(settings | changes))

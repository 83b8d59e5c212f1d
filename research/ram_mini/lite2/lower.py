"""What the lower half of Lite2 makes of all views: the maps that its upper half is trained on.

    python -m research.ram_mini.lite2.lower --data ../shared/data --wheels WHEELS --cache CACHE

Writes maps.npy, 0.7 GB, beside the features of `photos`, row by row of the same views. The lower
half stays as published: edges and textures are the same on all photos.
"""

import argparse
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import cast

import numpy as np
import torch
from timm.layers.norm_act import freeze_batch_norm_2d
from timm.models import EfficientNet
from torch import Tensor, nn

from ram_model.folding import fold_batch_norms
from research.ram_mini.lite2.photos import NUM_PROCESSES, TRAINING_GROUPS, read_photos, views_of
from research.ram_mini.lite2.source import load_network
from research.ram_mini.prepare import has_fast_bfloat16

LOWER_STAGES = 4  # of seven; what follows is 4.4 of 4.8 M parameters and less than half of the time
SIDE, CHANNELS = 12, 88  # of the maps


class Upper(nn.Module):
    """The upper half: maps [B, 88, 12, 12] to tokens [B, 36, 1280]."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        folded = cast(EfficientNet, network)
        self.blocks = nn.Sequential(*list(folded.blocks.children())[LOWER_STAGES:])
        self.head = nn.Sequential(folded.conv_head, folded.bn2)  # the norm is an activation now

    def forward(self, maps: Tensor) -> Tensor:
        """Return tokens [B, 36, 1280], row by row."""
        return self.head(self.blocks(maps)).flatten(2).transpose(1, 2)


def folded_network(wheels: Path) -> nn.Module:
    """Return the published network with batch norms inside the convolutions."""
    network = freeze_batch_norm_2d(load_network(wheels))
    fold_batch_norms(network)
    return network


@torch.inference_mode()
def lower_half(network: nn.Module, pixels: np.ndarray, *, fast: bool) -> np.ndarray:
    """Return float16 [B, 12, 12, 88] of uint8 [B, 192, 192, 3]."""
    part = cast(EfficientNet, network)
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2).float() / 127.5 - 1
    with torch.autocast("cpu", torch.bfloat16, enabled=fast):
        states = part.conv_stem(images.contiguous(memory_format=torch.channels_last))
        states = part.bn1(states)
        for stage in list(part.blocks.children())[:LOWER_STAGES]:
            states = stage(states)
    return states.permute(0, 2, 3, 1).half().numpy()


def cache_maps(data: Path, wheels: Path, cache: Path) -> None:
    """Write maps.npy, float16 [rows, 12, 12, 88], rows as those of views.npy."""
    photo_of = np.load(cache / "views.npy")[:, 0].astype(int)
    further = np.arange(photo_of.max() + 1, len(photo_of))
    shape = (len(photo_of), SIDE, SIDE, CHANNELS)
    maps = np.lib.format.open_memmap(cache / "partial_maps.npy", "w+", np.float16, shape)
    first = np.searchsorted(photo_of[further], np.arange(len(photo_of)))
    with ProcessPoolExecutor(NUM_PROCESSES, initializer=_open, initargs=(wheels,)) as pool:
        for number, made in enumerate(
            pool.map(_maps_of, enumerate(read_photos(data)), chunksize=16)
        ):
            start = further[0] + first[number]
            maps[[number, *range(start, start + len(made) - 1)]] = made
            if number % 500 == 0:
                print(f"{number} photos", flush=True)
    (cache / "partial_maps.npy").rename(cache / "maps.npy")


_network: nn.Module  # of a process of the pool


def _open(wheels: Path) -> None:
    global _network
    torch.set_num_threads(1)
    _network = folded_network(wheels)


def _maps_of(numbered: tuple) -> np.ndarray:
    number, photo = numbered
    pixels = np.stack([view for view, _ in views_of(photo, number)])
    fast = has_fast_bfloat16() and photo.group in TRAINING_GROUPS
    return lower_half(_network, pixels, fast=fast)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--wheels", "--cache"):
        parser.add_argument(name, type=Path, required=True)
    a = parser.parse_args()
    cache_maps(a.data, a.wheels, a.cache)

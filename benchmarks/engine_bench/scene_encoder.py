"""The frozen encoder of the scenes: a small network trained on pictures of one object.

Its pictures are drawn from seeds that no split uses, and each shows one object, with the words for
it, its colour, its action and the place: as ImageNet is to photos on the web.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.engine_world.rendering import render
from benchmarks.engine_world.scenes import SIDE_PX, Scene, draw_scene, laws
from benchmarks.engine_world.tags import ACTIONS, COLOURS, SCENES, THINGS

PATCH_PX = 48
ENCODER_SEED = 777_000
"""Splits use seeds below 1,000."""
WIDTH = 128
TOKENS = 6
"""Tokens per side of a scene."""
_HEADS = (len(THINGS), len(COLOURS), len(ACTIONS) + 1, len(SCENES))


class SceneEncoder(nn.Module):
    """Pictures to a map of features, stride 8."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            *_block(3, 32, 2), *_block(32, 64, 2), *_block(64, 96, 2), *_block(96, WIDTH, 1)
        )
        self.heads = nn.ModuleList(nn.Linear(WIDTH, count) for count in _HEADS)

    def forward(self, pixels: Tensor) -> Tensor:
        """Return float [B, 128, S/8, S/8] of uint8 [B, S, S, 3]."""
        values = pixels.permute(0, 3, 1, 2).float().div(127.5).sub(1)
        return self.layers(values.contiguous(memory_format=torch.channels_last))

    def loss(self, pixels: Tensor, labels: Tensor) -> Tensor:
        """Return the sum of the cross entropies of labels int64 [B, 4]."""
        pooled = self(pixels).amax((2, 3))
        parts = [F.cross_entropy(head(pooled), labels[:, k]) for k, head in enumerate(self.heads)]
        return torch.stack(parts).sum()


def _block(inputs: int, outputs: int, stride: int) -> list[nn.Module]:
    conv = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False)
    return [conv, nn.BatchNorm2d(outputs), nn.ReLU(inplace=True)]


def train_encoder(path: Path, *, pictures: int, epochs: int) -> SceneEncoder:
    """Return the encoder in evaluation mode; trained once, then read from `path`."""
    torch.manual_seed(0)
    encoder = SceneEncoder().to(memory_format=torch.channels_last)
    if path.exists():
        encoder.load_state_dict(torch.load(path, weights_only=True))
        return encoder.eval()
    pixels, labels = one_object_pictures(pictures)
    optimizer = torch.optim.AdamW(encoder.parameters(), 3e-3, weight_decay=0.01)
    steps = epochs * (pictures // 64)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for epoch in range(epochs):
        total = 0.0
        for rows in torch.randperm(pictures)[: pictures // 64 * 64].split(64):
            loss = encoder.loss(pixels[rows], labels[rows])
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
            total += float(loss.detach())
        print(f"encoder: epoch {epoch + 1}, loss {total / (pictures // 64):.3f}", flush=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(encoder.state_dict(), path)
    return encoder.eval()


def one_object_pictures(count: int) -> tuple[Tensor, Tensor]:
    """Return uint8 [N, 48, 48, 3] and labels int64 [N, 4]: object, colour, action, place."""
    law = laws()
    pixels = np.zeros((count, PATCH_PX, PATCH_PX, 3), np.uint8)
    labels = np.zeros((count, 4), np.int64)
    for number in range(count):
        generator = np.random.default_rng([ENCODER_SEED, number])
        scene = draw_scene(law, generator)
        item = scene.items[0]._replace(
            thing=int(generator.integers(len(THINGS))),
            colour=int(generator.integers(len(COLOURS))),
            action=int(generator.integers(len(ACTIONS))) if generator.random() < 0.6 else None,
            size=float(generator.uniform(11, 40)),
            x=float(generator.uniform(28, SIDE_PX - 28)),
            y=float(generator.uniform(28, SIDE_PX - 28)),
        )
        picture, _ = render(Scene(scene.scene, (item,)), generator)
        left, top = (
            int(np.clip(v - PATCH_PX / 2 + generator.uniform(-8, 8), 0, SIDE_PX - PATCH_PX))
            for v in (item.x, item.y)
        )
        pixels[number] = picture[top : top + PATCH_PX, left : left + PATCH_PX]
        action = len(ACTIONS) if item.action is None else item.action
        labels[number] = item.thing, item.colour, action, scene.scene
    return torch.from_numpy(pixels), torch.from_numpy(labels)


@torch.inference_mode()
def scene_tokens(encoder: SceneEncoder, images: np.ndarray) -> np.ndarray:
    """Return float16 [N, 36, 128], the features of scenes in 6 x 6 places, row by row."""
    parts = []
    for start in range(0, len(images), 128):
        found = encoder(torch.from_numpy(images[start : start + 128]))
        pooled = F.adaptive_max_pool2d(found, TOKENS)
        parts.append(pooled.flatten(2).transpose(1, 2).half().numpy())
    return np.concatenate(parts)

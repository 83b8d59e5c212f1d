"""What ram-mini's image encoder makes of the photos, cached, and training on it.

A step on cached tokens costs a tenth of one through the encoder. Shape legend: N photos, B photos
of a step, T tokens without the mean token, V encoder width, L labels.
"""

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ram_model import Ram
from research.ram_mini.data import CAPTION_TARS, TEST_TARS, THRESHOLD_TAR
from research.ram_mini.prepare import TagLine, caption_words, has_fast_bfloat16
from research.ram_mini.views import normalise, random_boxes
from research.ram_mini.widen import Probe, decode, fit_probe, pool
from research.ram_mini.words import target_matrix

BATCH_SIZE = 64
LABELS_PER_STEP = 64  # of the tags, and as many of the other words: labels never see each other
CAPTION_WEIGHT = 0.3  # against 1 for the teacher
WARM_UP_STEPS = 30
EMA_DECAY = 0.99
STEPS_PER_LINE = 50


class Photos:
    """Tokens and captions of the 6,000 photos of Flickr8k, and the split of train_ram_mini."""

    def __init__(self, cache: Path, run: Path) -> None:
        """Read the cache of prepare_ram_mini and the tokens that `encode_photos` wrote to `run`."""
        photos = flickr_photos(cache)
        views = [np.load(run / f"tokens_{view}.npy") for view in (0, 1)]
        self.tokens = torch.from_numpy(np.stack(views, axis=1))
        """float16 [N, 2, T, V]; view 1 is mirrored."""
        self.captions: list[list[str]] = [photo["captions"] for photo in photos]
        self.words = [caption_words(captions) for captions in self.captions]
        tar = np.array([photo["tar"] for photo in photos])
        self.train_rows = np.flatnonzero(np.isin(tar, CAPTION_TARS))
        self.threshold_rows = np.flatnonzero(tar == THRESHOLD_TAR)
        self.test_rows = np.flatnonzero(np.isin(tar, TEST_TARS))

    def targets(self, labels: Sequence[TagLine]) -> np.ndarray:
        """Return bool [N, L]: the captions of a photo say the label."""
        return target_matrix(self.words, labels)

    def probe(self, targets: np.ndarray) -> Probe:
        """Return a linear probe on the pooled tokens of the training photos."""
        pooled = pool(self.tokens[self.train_rows, 0].float())
        return fit_probe(pooled, targets[self.train_rows].astype(np.float32))

    @torch.inference_mode()
    def logits(self, model: Ram, rows: np.ndarray) -> np.ndarray:
        """Return float32 [len(rows), tags of the model]."""
        parts = self.tokens[rows, 0].float().split(100)
        return torch.cat([decode(model.eval(), part) for part in parts]).numpy()


def flickr_photos(cache: Path) -> list[dict]:
    """Return the rows of photos.json that have captions: those of Flickr8k, which come first."""
    return [p for p in json.loads((cache / "photos.json").read_text()) if p["captions"]]


def encode_photos(model: Ram, cache: Path, run: Path) -> None:
    """Write tokens_0.npy and tokens_1.npy into `run`, float16 [N, T, V], unless they are there."""
    run.mkdir(parents=True, exist_ok=True)
    count = len(flickr_photos(cache))
    pixels = np.load(cache / f"pixels_{model.config.image_size_px}.npy", mmap_mode="r")
    for view in (0, 1):
        file = run / f"tokens_{view}.npy"
        if not file.exists():
            starts = range(0, count, 100)
            parts = [_encode(model, pixels[at : min(at + 100, count)], view) for at in starts]
            np.save(run / "partial.npy", np.concatenate(parts))
            (run / "partial.npy").rename(file)


@torch.inference_mode()
def _encode(model: Ram, pixels: np.ndarray, view: int) -> np.ndarray:
    images = torch.from_numpy(pixels.copy()).permute(0, 3, 1, 2)
    images = normalise((images.flip(3) if view else images).float() / 255)
    with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
        tokens = model.eval().image_encoder(images.contiguous(memory_format=torch.channels_last))
    return tokens[:, 1:].half().numpy()


def train_on_tokens(
    model: Ram,
    groups: list[dict],
    photos: Photos,
    targets: np.ndarray,
    teacher: Callable[[Tensor, Tensor], Tensor],
    *,
    num_tags: int,
    steps: int,
) -> None:
    """Train parameters of a model on photos mixed in pairs; it ends with their running average.

    Args:
        groups: of the optimizer, with a peak learning rate "lr" each.
        targets: bool [N, L], of the model's labels: first `num_tags` tags, then other words.
        teacher: from tokens [B, T, V] and columns to logits [B, columns].
    """
    optimizer = torch.optim.AdamW([group | {"peak": group["lr"]} for group in groups])
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    average = [p.detach().clone() for p in parameters]
    total = 0.0
    for step in range(steps):
        random = np.random.default_rng(step)
        rate = min(1.0, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / steps))
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * max(rate, 0.01)
        loss = _step_loss(model.train(), photos, targets, teacher, num_tags, random)
        if not torch.isfinite(loss):
            raise RuntimeError("The loss is not finite; start again with a lower learning rate.")
        optimizer.zero_grad()
        with sdpa_kernel(SDPBackend.MATH):
            loss.backward()
        nn.utils.clip_grad_norm_(parameters, 5.0)
        optimizer.step()
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        for mean, parameter in zip(average, parameters, strict=True):
            mean.lerp_(parameter.detach(), 1 - decay)
        total += loss.item()
        if (step + 1) % STEPS_PER_LINE == 0:
            print({"step": step + 1, "loss": round(total / STEPS_PER_LINE, 3)}, flush=True)
            total = 0.0
    with torch.no_grad():
        for mean, parameter in zip(average, parameters, strict=True):
            parameter.copy_(mean)


def _step_loss(
    model: Ram,
    photos: Photos,
    targets: np.ndarray,
    teacher: Callable[[Tensor, Tensor], Tensor],
    num_tags: int,
    random: np.random.Generator,
) -> Tensor:
    """Return the cross entropy to teacher and captions, summed over as many labels as tags."""
    tokens, rows, share = mix_photos(photos, random)
    others = num_tags + random.permutation(targets.shape[1] - num_tags)[:LABELS_PER_STEP]
    chosen = np.concatenate([random.permutation(num_tags)[:LABELS_PER_STEP], others])
    columns = torch.from_numpy(chosen)
    first, second = torch.from_numpy(targets[rows[:, :, None], chosen]).float()
    said = first * (1 - share) + second * share
    with torch.no_grad():
        soft = teacher(tokens, columns).sigmoid()
    # the flash kernel's backward pass is slow for heads this narrow
    with sdpa_kernel(SDPBackend.MATH):
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
            logits = decode(model, tokens, columns)
        # cross entropy is linear in its target
        wanted = (soft + CAPTION_WEIGHT * said) / (1 + CAPTION_WEIGHT)
        entropy = F.binary_cross_entropy_with_logits(logits.float(), wanted)
    return entropy * (1 + CAPTION_WEIGHT) * num_tags


def mix_photos(photos: Photos, random: np.random.Generator) -> tuple[Tensor, np.ndarray, Tensor]:
    """Return tokens [B, T, V], each of two photos; their rows [2, B]; the second's share [B, 1]."""
    rows = random.choice(photos.train_rows, (2, BATCH_SIZE))
    first, second = photos.tokens[rows, random.integers(0, 2, rows.shape)].float()
    side = math.isqrt(first.shape[1])
    taken = torch.from_numpy(random_boxes(random, BATCH_SIZE, side))
    share = taken.float().mean(1, keepdim=True)
    return torch.where(taken[:, :, None], second, first), rows, share

"""Image-text pairs of a step, for a CLIP: what `batches` is for the family."""

from typing import NamedTuple

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor

from ram_ray.training.data.batches import choose_caption
from ram_ray.training.data.feed import Part
from ram_ray.training.data.order import Plan


class Pairs(NamedTuple):
    """Images and texts of one forward pass."""

    num_samples: int
    pixels: Tensor
    """uint8 [B, S, S, 3]."""
    present: Tensor
    """float32 [B], 0 where image or text could not be had."""
    pieces: Tensor
    """int64 [B, L], word pieces of CLIP's tokenizer."""
    signal: Tensor | None = None
    """float32 [B, 2 E]: the loss's gradient by the features; None: only features are wanted."""
    scale_signal: float = 0.0
    """The loss's gradient by the logarithm of the scale, in one pass of the step."""

    def counts(self) -> dict[str, float]:
        """Return 0: the contrastive loss is a mean already."""
        return {"contrastive": 0.0}


class PairMaker:
    """Looks up a caption of each image, another one in each epoch."""

    def __init__(
        self, samples: pa.Table, plan: Plan, *, context_length: int, seed: int, device: str
    ) -> None:
        from open_clip import SimpleTokenizer

        self._tokenize = SimpleTokenizer(context_length=context_length)
        self._samples, self._plan = samples, plan
        self._seed, self._device = seed, device

    def make(self, part: Part) -> Pairs:
        """Return the pairs of one forward pass, on the device."""
        count, size = max(1, len(part.samples)), part.pixels.shape[1]
        pixels = part.pixels if len(part.samples) else np.zeros((1, size, size, 3), np.uint8)
        texts, present = [""] * count, np.zeros(count, np.float32)
        epoch = self._plan.epoch_of(part.step)
        for row, sample in enumerate(self._samples.take(part.samples).to_pylist()):
            if sample["captions"]:
                number = choose_caption(self._seed, epoch, sample["image_id"])
                texts[row] = sample["captions"][number % len(sample["captions"])]
                present[row] = part.errors[row] is None
        return Pairs(
            num_samples=len(part.samples),
            pixels=torch.from_numpy(pixels.copy()).to(self._device),
            present=torch.from_numpy(present).to(self._device),
            pieces=self._tokenize(texts).to(self._device),
        )

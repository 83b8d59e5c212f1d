"""Parts of a feed and what is known of their samples, as tensors for a forward pass."""

import numpy as np
import pyarrow as pa
import torch

from ram_ray.training.feed import Part
from ram_ray.training.objective import Batch


class BatchMaker:
    """Looks up the labels of a part's samples; an empty part becomes one image of no weight."""

    def __init__(self, samples: pa.Table, *, num_tags: int, device: str) -> None:
        self._samples = samples
        self._num_tags = num_tags
        self._device = device

    def make(self, part: Part) -> Batch:
        """Return the batch of one forward pass, on the device."""
        count = max(1, len(part.samples))
        size = part.pixels.shape[1]
        pixels = part.pixels if len(part.samples) else np.zeros((1, size, size, 3), np.uint8)
        present = np.zeros(count, np.float32)
        present[: len(part.samples)] = [error is None for error in part.errors]
        targets = np.zeros((count, self._num_tags), np.float32)
        known = np.ones((count, self._num_tags), np.bool_)
        columns = ("tag_ids", "scores", "unknown")
        rows = self._samples.select(columns).take(part.samples).to_pylist()
        for row, sample in enumerate(rows):
            targets[row, sample["tag_ids"]] = sample["scores"]
            known[row, sample["unknown"]] = False
        return Batch(
            num_samples=len(part.samples),
            pixels=torch.from_numpy(pixels.copy()).to(self._device),
            present=torch.from_numpy(present).to(self._device),
            targets=torch.from_numpy(targets).to(self._device),
            known=torch.from_numpy(known).to(self._device),
        )

"""SqueezeNet as the teacher of ram-mini: its features, its classes, and a tag probe on them.

Shape legend: B photos, C tags, T 16 cells of the image, F 512 features of SqueezeNet.
"""

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from research.ram_mini.views import GRID, Crops, resize_weights

if TYPE_CHECKING:
    from research.ram_mini.data import Data

PROBE_FOLDS = 5
PROBE_PENALTY = 0.01  # best of 4 tried


class Lesson(NamedTuple):
    """What the teacher says about a batch of views."""

    cells: Tensor
    """Standardised features of the cells, [B, T, F]."""
    soft: Tensor
    """Tag probabilities [B, C]."""


class Teacher:
    """What the student should see in a crop: SqueezeNet's features and a tag probe on them."""

    def __init__(self, data: "Data", cache: Path) -> None:
        # square roots, because a few features are much larger than the rest
        self.map = np.sqrt(data.teacher_map, out=data.teacher_map)
        self.side = self.map.shape[-1]
        self.classifier = torch.load(cache / "teacher_classifier.pt", weights_only=True)
        pooled = torch.from_numpy(np.stack([m.astype(np.float32).mean((1, 2)) for m in self.map]))
        cells = self.map[data.train_rows[::20]].astype(np.float32)
        self.mean = torch.from_numpy(cells.mean((0, 2, 3)))
        self.std = torch.from_numpy(cells.std((0, 2, 3)) + 1e-3)
        centred = (pooled - self.mean) / self.std
        self.pooled_std = centred[data.train_rows].std(0) + 1e-3
        # photos of fold k get soft tags from a probe that never saw their captions; the last
        # probe saw all of tars 0-8 and serves the photos without captions
        self.fold = np.where(data.has_captions, data.tar % PROBE_FOLDS, PROBE_FOLDS)
        self.weights, self.biases = self._probes(centred / self.pooled_std, data, cache)

    def _probes(self, features: Tensor, data: "Data", cache: Path) -> tuple[Tensor, Tensor]:
        """Return weights [folds + 1, F, C] and biases [folds + 1, C]; kept in the cache."""
        file = cache / "teacher_probes.pt"
        if file.exists():
            kept = torch.load(file, weights_only=True)
            if kept["tags"] == data.tags:
                return kept["weights"], kept["biases"]
        targets = torch.from_numpy(data.targets)
        chosen = [
            np.flatnonzero(data.has_captions & (self.fold != fold))
            for fold in range(PROBE_FOLDS + 1)
        ]
        fitted = [fit_probe(features[rows], targets[rows]) for rows in chosen]
        weights, biases = (torch.stack(part) for part in zip(*fitted, strict=True))
        torch.save({"tags": data.tags, "weights": weights, "biases": biases}, file)
        return weights, biases

    def view(self, rows: np.ndarray, crops: Crops, taken: Tensor) -> Lesson:
        """Return what the teacher says about crops with the boxes `taken` as `paste` fills them.

        A pasted photo's tags are the probe's for the features of both parts together.
        """
        tall, wide = (_halve(w) for w in resize_weights(crops, self.side, 2 * GRID))
        maps = torch.from_numpy(self.map[rows]).float()
        cells = torch.matmul(torch.matmul(tall[:, None], maps), wide.transpose(1, 2)[:, None])
        cells = (cells.flatten(2).transpose(1, 2) - self.mean) / self.std
        folds = self.fold[rows]
        box = taken[:, :, None]
        soft = self._logits(cells * ~box, folds, 1 - taken.float().mean(1, keepdim=True))
        pasted = cells.roll(1, 0)
        soft += self._logits(pasted * box, np.roll(folds, 1), taken.float().mean(1, keepdim=True))
        return Lesson(torch.where(box, pasted, cells), soft.sigmoid())

    def _logits(self, cells: Tensor, folds: np.ndarray, share: Tensor) -> Tensor:
        """Return the probe's logits [B, C] of cells that are zero outside a `share` [B, 1]."""
        pooled = cells.mean(1) / self.pooled_std
        logits = torch.empty(len(cells), self.biases.shape[1])
        for fold in np.unique(folds):
            chosen = torch.from_numpy(np.flatnonzero(folds == fold))
            logits[chosen] = pooled[chosen] @ self.weights[fold] + share[chosen] * self.biases[fold]
        return logits

    def class_logits(self, cells: Tensor) -> Tensor:
        """Return SqueezeNet's class logits [B, 1000] for standardised features [B, T, F]."""
        features = (cells * self.std + self.mean).clamp(min=0).square()
        return F.linear(features, *self.classifier).relu().mean(1)


def _halve(weights: Tensor) -> Tensor:
    """Return weights [B, n, inputs] of means over two neighbours of [B, 2n, inputs]."""
    return weights.unflatten(1, (-1, 2)).mean(2)


def fit_probe(features: Tensor, targets: Tensor) -> tuple[Tensor, Tensor]:
    """Return weight [F, C] and bias [C] of one logistic regression per tag."""
    prior = targets.mean(0).clamp(1e-4, 1 - 1e-4)
    weight = torch.zeros(features.shape[1], targets.shape[1], requires_grad=True)
    bias = torch.logit(prior).requires_grad_(True)
    optimizer = torch.optim.Adam([weight, bias], lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
    for _ in range(200):
        logits = features @ weight + bias
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        loss = loss / len(features) + PROBE_PENALTY * weight.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return weight.detach(), bias.detach()

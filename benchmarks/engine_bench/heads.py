"""The tagger of the benchmark: per tag an attention over frozen tokens, trained on a label set.

Shape legend: N images, P places, D token width, T tags.
"""

from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ram_model.training.losses import asymmetric_loss

Loss = Literal["bce", "asl", "splc"]
VALUE_DECAY = 1e-2
SPLC_FROM_EPOCH, SPLC_ABOVE = 2, 0.6
"""Of SPLC (arXiv 2112.07368): from this epoch on, a negative scored above this is a positive."""


class Head:
    """Logits of tags from tokens: sum over places of softmax(token . query) x (token . value)."""

    def __init__(self, width: int, num_tags: int, seed: int) -> None:
        generator = torch.Generator().manual_seed(seed)
        shape = (width, num_tags)
        self.query = torch.randn(shape, generator=generator).mul_(0.05).requires_grad_()
        self.value = torch.randn(shape, generator=generator).mul_(0.02).requires_grad_()
        self.bias = torch.full((num_tags,), -2.0).requires_grad_()

    @property
    def parameters(self) -> list[Tensor]:
        """What training changes."""
        return [self.query, self.value, self.bias]

    def places(self, tokens_NPD: Tensor) -> tuple[Tensor, Tensor]:
        """Return attention logits and values per place, [N, P, T] each."""
        return tokens_NPD @ self.query, tokens_NPD @ self.value

    def logits(self, tokens_NPD: Tensor) -> Tensor:
        """Return [N, T]."""
        attention, values = self.places(tokens_NPD)
        return (attention.softmax(1) * values).sum(1) + self.bias

    @torch.no_grad()
    def backward(self, tokens_NPD: Tensor, targets_NT: Tensor, loss: Loss, epoch: int) -> None:
        """Set the gradients of one batch; by hand, which is three times as fast as autograd."""
        unit = tokens_NPD.flatten(0, 1)
        num_tags = len(self.bias)
        both = unit @ torch.cat([self.query, self.value], 1)
        attention, values = both.view(*tokens_NPD.shape[:2], -1).split(num_tags, 2)
        weight = attention.softmax(1)
        pooled = (weight * values).sum(1)
        slope = _slope(pooled + self.bias, targets_NT, loss, epoch)[:, None]
        by_value = weight * slope
        by_attention = by_value * (values - pooled[:, None])
        change = unit.T @ torch.cat([by_attention, by_value], 2).flatten(0, 1)
        self.query.grad = change[:, :num_tags]
        self.value.grad = change[:, num_tags:] + 2 * VALUE_DECAY * self.value
        self.bias.grad = slope.sum((0, 1))


def train_head(
    tokens: np.ndarray,
    labels: np.ndarray,
    *,
    seed: int,
    loss: Loss = "bce",
    epochs: int = 8,
    batch_size: int = 128,
    learning_rate: float = 0.008,
) -> Head:
    """Return a head fitted to labels.

    Args:
        tokens: float32 [N, P, D], about standard normal.
        labels: bool [N, T].
    """
    head = Head(tokens.shape[2], labels.shape[1], seed)
    targets = torch.from_numpy(labels.astype(np.float32))
    inputs = torch.from_numpy(tokens)
    optimizer = torch.optim.Adam(head.parameters, learning_rate)
    generator = torch.Generator().manual_seed(seed)
    steps = epochs * -(-len(tokens) // batch_size)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for epoch in range(epochs):
        for rows in torch.randperm(len(tokens), generator=generator).split(batch_size):
            head.backward(inputs[rows], targets[rows], loss, epoch)
            optimizer.step()
            schedule.step()
    return head


def _slope(logits: Tensor, targets: Tensor, kind: Loss, epoch: int) -> Tensor:
    """Return the derivative of the loss by the logits, [N, T]."""
    if kind == "asl":
        with torch.enable_grad():
            leaf = logits.detach().requires_grad_()
            value = asymmetric_loss(leaf, targets, gamma_neg=4.0) / len(logits)
            return torch.autograd.grad(value, leaf)[0]
    scores = logits.sigmoid()
    if kind == "splc" and epoch >= SPLC_FROM_EPOCH:
        targets = torch.maximum(targets, (scores > SPLC_ABOVE).float())
    return (scores - targets) / len(logits)


Ensemble = list[Head]
"""Heads of the same labels, other seeds; their logits are averaged."""


@torch.inference_mode()
def scores_of(heads: Head | Ensemble, tokens: np.ndarray) -> np.ndarray:
    """Return float32 [N, T], 0..1, on whole images."""
    members = [heads] if isinstance(heads, Head) else heads
    parts = []
    for start in range(0, len(tokens), 512):
        part = torch.from_numpy(tokens[start : start + 512])
        parts.append(torch.stack([head.logits(part) for head in members]).mean(0).sigmoid())
    return torch.cat(parts).numpy()


def window_masks(side: int, sizes: tuple[int, ...]) -> np.ndarray:
    """Return bool [W, side * side]: every square window of these sizes, in steps of one."""
    masks = []
    for size in sizes:
        for top in range(side - size + 1):
            for left in range(side - size + 1):
                mask = np.zeros((side, side), bool)
                mask[top : top + size, left : left + size] = True
                masks.append(mask.ravel())
    return np.stack(masks)


@torch.inference_mode()
def window_logits(heads: Ensemble, tokens: np.ndarray, masks: np.ndarray) -> np.ndarray:
    """Return float32 [N, W, T]: the tagger on each window (its tokens and no others)."""
    chosen = torch.from_numpy(masks.astype(np.float32))
    total = torch.zeros(len(tokens), len(masks), len(heads[0].bias))
    for head in heads:
        attention, values = head.places(torch.from_numpy(tokens))
        weight = (attention - attention.amax(1, keepdim=True)).exp()
        upper = torch.einsum("wp,npt->nwt", chosen, weight * values)
        lower = torch.einsum("wp,npt->nwt", chosen, weight)
        total += upper / lower.clamp(min=1e-12) + head.bias
    return (total / len(heads)).numpy()


def out_of_fold(
    tokens: np.ndarray, labels: np.ndarray, *, folds: int, members: int, seed: int
) -> tuple[list[Ensemble], np.ndarray]:
    """Return an ensemble per fold, trained on the other folds, and int [N], each image's fold."""
    fold = np.random.default_rng([seed, 5]).permutation(len(tokens)) % folds
    ensembles = []
    for k in range(folds):
        rest = fold != k
        inputs, targets = tokens[rest], labels[rest]
        seeds = [seed * 100 + 10 * member + k for member in range(members)]
        ensembles.append([train_head(inputs, targets, seed=each) for each in seeds])
    return ensembles, fold


def scores_by_fold(ensembles: list[Ensemble], tokens: np.ndarray) -> np.ndarray:
    """Return float32 [N, T] of images that no ensemble has seen, each by one of them in turn.

    Averaging all would be surer than the scores of the captioned images are, and so not comparable.
    """
    scores = np.zeros((len(tokens), len(ensembles[0][0].bias)), np.float32)
    for k, heads in enumerate(ensembles):
        scores[k :: len(ensembles)] = scores_of(heads, tokens[k :: len(ensembles)])
    return scores

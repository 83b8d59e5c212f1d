"""What teaches ram-mini further words: a probe on its tokens, and the model as it was."""

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ram_model import Ram
from research.ram_mini.prepare import TagLine

PROBE_PENALTY = 0.03  # better than .1 on tar 9


def pool(tokens: Tensor) -> Tensor:
    """Return the mean over the tokens of [B, T, V]: [B, V]."""
    return tokens.mean(1)


def decode(model: Ram, tokens: Tensor, columns: Tensor | None = None) -> Tensor:
    """Return logits of the encoder's tokens [B, 16, 384], of all tags or of some columns."""
    tokens = model.image_projection(torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1))
    queries = model.label_queries()
    return model.decode_tags(tokens, queries if columns is None else queries[:, columns])


class Probe(nn.Module):
    """One logistic regression per tag on standardised pooled tokens."""

    def __init__(self, pooled: Tensor, targets: Tensor) -> None:
        super().__init__()
        self.mean, self.std = pooled.mean(0), pooled.std(0) + 1e-3
        self.weight = torch.zeros(pooled.shape[1], targets.shape[1], requires_grad=True)
        prior = targets.mean(0).clamp(1e-4, 1 - 1e-4)
        self.bias = torch.logit(prior).requires_grad_(True)

    def forward(self, pooled: Tensor) -> Tensor:
        """Return logits [B, C]."""
        return (pooled - self.mean) / self.std @ self.weight.detach() + self.bias.detach()


def fit_probe(pooled: Tensor, targets: np.ndarray) -> Probe:
    """Return the probe that fits the captions best under a penalty on its weights."""
    truth = torch.from_numpy(targets)
    probe = Probe(pooled, truth)
    features = (pooled - probe.mean) / probe.std
    solver = torch.optim.LBFGS([probe.weight, probe.bias], max_iter=25, history_size=10)

    def loss() -> float:
        solver.zero_grad()
        logits = features @ probe.weight + probe.bias
        value = F.binary_cross_entropy_with_logits(logits, truth, reduction="sum") / len(truth)
        value = value + PROBE_PENALTY * probe.weight.square().sum()
        value.backward()
        return value.item()

    solver.step(loss)
    return probe


class Teacher:
    """The probe, and for tags that the old model knows the mean of its logits and the probe's."""

    def __init__(self, probe: Probe, old: Ram, old_names: tuple[str, ...], tags: list[TagLine]):
        self.probe, self.old = probe, old.eval()
        known = [old_names.index(t.name) if t.name in old_names else -1 for t in tags]
        self.old_column = torch.tensor(known)

    @torch.inference_mode()
    def __call__(self, tokens: Tensor, columns: Tensor) -> Tensor:
        """Return logits [B, len(columns)] for the encoder's tokens [B, 16, 384]."""
        logits = self.probe(pool(tokens))[:, columns]
        known = (self.old_column[columns] >= 0).nonzero().squeeze(1)
        if len(known):
            old = decode(self.old, tokens, self.old_column[columns[known]])
            logits[:, known] = (logits[:, known] + old) / 2
        return logits

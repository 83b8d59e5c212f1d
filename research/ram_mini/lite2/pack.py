"""Pack linear classifiers into a RAM: label queries made of text, and the direct term.

The best approximation of rank 254 of the classifiers' logits over the training photos becomes
queries and image projection; two more entries of a query carry each tag's bias, and a constant that
takes the shift out again (queries pass a ReLU, so that all are moved up first). A tag's label is
its text and an offset, such that its query is exact; what the projection makes of text alone is
learned from all tags and the further words of the captions, for words that are new.

Shape legend: X views, C tags, L further words, F 1,280 features, D width, E label space.
"""

from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ram_model import Ram, RamConfig
from ram_model.config import variant
from ram_model.networks.image_encoder import ImageEncoder
from research.ram_mini.open import fit_projection, offsets

SHIFT = 4.0  # of all queries, in deviations of their entries
SPREAD = 2.0  # least size of what an offset of length one does to a query
TEXT_STEPS = 600
VIEWS_PER_STEP, WORDS_PER_STEP = 256, 256
PROJECTION_LR, WEIGHT_DECAY = 1e-3, 0.05


class Linear(NamedTuple):
    """Classifiers of the mean token: logits are features @ weight.T + bias."""

    weight: Tensor
    """[C + L, F]."""
    bias: Tensor
    """[C + L]."""


def lite2_config(num_tags: int) -> RamConfig:
    """Return variant "mini_lite2" for this vocabulary."""
    return variant("mini_lite2", num_tags=num_tags)


def pack(linear: Linear, pooled: Tensor, texts: Tensor, num_tags: int) -> Ram:
    """Return the model of some classifiers, without an image encoder.

    Args:
        pooled: [X, F], mean tokens of the views that were trained on.
        texts: [C + L, E], label embeddings of all words.
        num_tags: C, of which the model has labels.
    """
    torch.manual_seed(0)
    model = Ram(lite2_config(num_tags))
    model.add_module("image_encoder", nn.Identity())
    queries = pack_queries(model, linear, pooled, num_tags)
    model.label_projection.load_state_dict(start_of_text(texts[:num_tags], queries).state_dict())
    learn_text(model, linear, pooled, texts)
    entries = slice(0, -1)  # the last one is constant: its row is zero
    seen = nn.Linear(1, 1)
    seen.weight = nn.Parameter(model.label_projection.weight[entries].detach())
    seen.bias = nn.Parameter(model.label_projection.bias[entries].detach())
    known = texts[:num_tags]
    rows = known + offsets(seen, known, queries[:, entries])
    model.label_embeddings = nn.Parameter(rows, requires_grad=False)
    return model.eval()


@torch.no_grad()
def pack_queries(model: Ram, linear: Linear, pooled: Tensor, num_tags: int) -> Tensor:
    """Set image projection, direct term and classifier; return the queries [C, D], >= 0."""
    assert model.direct is not None
    mean = pooled.mean(0)
    weight = linear.weight[:num_tags]
    bias = linear.bias[:num_tags] + weight @ mean
    width = model.config.tag_decoder.hidden_dim
    rank = width - 2
    centred = pooled - mean
    root_weight = _root(centred) @ weight.T  # [F, C], the same products as all logits [X, C]
    scale = root_weight.norm(dim=0) + 1e-6  # every tag counts alike
    directions = torch.linalg.svd(root_weight / scale, full_matrices=False)[2][:rank]  # [rank, C]
    reduced = directions @ (weight / scale[:, None])  # [rank, F]
    packed = centred @ reduced.T  # [X, rank]
    spread = packed.std(0) + 1e-6
    rest = _principal(centred, model.config.label_dim - rank)
    projection = torch.cat([reduced / spread[:, None], rest])
    model.image_projection.weight.copy_(projection)
    model.image_projection.bias.copy_(-projection @ mean)

    entries = (
        directions.T * scale[:, None] * spread
    )  # [C, rank]: logits are entries @ unit features + bias
    unit = entries.std(0) + 1e-6
    low = float(bias.min()) - 1
    constant = torch.ones(num_tags, 1)
    queries = torch.cat([entries / unit + SHIFT, (bias - low)[:, None], constant], dim=1)
    root = width**0.5
    direct = torch.zeros_like(model.direct.weight)
    direct[torch.arange(rank), torch.arange(rank)] = unit * root
    direct[rank + 1, :rank] = -SHIFT * unit * root  # takes the shift out again
    model.direct.weight.copy_(direct)
    model.direct.bias.zero_()
    classifier = model.classifier
    assert isinstance(classifier, nn.Linear)
    classifier.weight.zero_()
    classifier.weight[0, rank] = 1.0
    classifier.bias.fill_(low)
    return queries.clamp(min=0)


def start_of_text(texts: Tensor, queries: Tensor) -> nn.Linear:
    """Return the projection from text [C, E] to queries [C, D] that training begins with.

    It has no direction that offsets cannot reach, and its last entry is constant.
    """
    layer = fit_projection(texts, queries)
    rows = torch.nn.init.orthogonal_(torch.empty_like(layer.weight)) * SPREAD
    with torch.no_grad():
        layer.weight.add_(rows)
        layer.weight[-1] = 0.0
        layer.bias[-1] = 1.0
    return layer


def learn_text(model: Ram, linear: Linear, pooled: Tensor, texts: Tensor) -> None:
    """Train the projection, so that text alone scores as the classifiers of the words do."""
    model.requires_grad_(False)
    projection = model.label_projection.requires_grad_(True)
    optimizer = torch.optim.AdamW(
        projection.parameters(), lr=PROJECTION_LR, weight_decay=WEIGHT_DECAY
    )
    with torch.no_grad():
        tokens = model.image_projection(pooled).unsqueeze(1)
        wanted = (pooled @ linear.weight.T + linear.bias).sigmoid()
    for step in range(TEXT_STEPS):
        random = np.random.default_rng(step)
        rows = random.choice(len(tokens), VIEWS_PER_STEP)
        words = random.permutation(len(texts))[:WORDS_PER_STEP]
        logits = model.decode_tags(tokens[rows], F.relu(projection(texts[words])).unsqueeze(0))
        targets = wanted[rows][:, words]
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        optimizer.zero_grad()
        (loss / VIEWS_PER_STEP).backward()
        assert projection.weight.grad is not None
        assert projection.bias.grad is not None
        projection.weight.grad[-1] = 0.0
        projection.bias.grad[-1] = 0.0
        optimizer.step()
        with torch.no_grad():
            projection.weight[-1], projection.bias[-1] = 0.0, 1.0  # whatever decays
    model.requires_grad_(False)


def with_encoder(model: Ram, encoder: ImageEncoder) -> Ram:
    """Return the whole model."""
    whole = Ram(model.config)
    encoded = {f"image_encoder.{name}": value for name, value in encoder.state_dict().items()}
    whole.load_state_dict(model.state_dict() | encoded)
    return whole.eval()


def _root(centred: Tensor) -> Tensor:
    """Return [F, F] with the same products as `centred` [X, F]."""
    return torch.linalg.cholesky(
        centred.T @ centred / len(centred) + 1e-5 * torch.eye(centred.shape[1])
    ).T


def _principal(centred: Tensor, count: int) -> Tensor:
    """Return the first principal directions [count, F] that give unit deviations."""
    values, axes = torch.linalg.eigh(centred.T @ centred / len(centred))
    order = torch.arange(len(values) - 1, len(values) - 1 - count, -1)
    return axes.T[order] / (values[order, None].clamp(min=0).sqrt() + 1e-3)

"""Where training starts: linear teachers of all tags, packed into the decoder's direct term.

The class head (for tags that are classes) and a linear probe on the soft targets (for all others)
give each tag a linear score on Lite2's pooled features. Their best approximation of rank 190 over
the training photos becomes label queries and the direct term; two more dimensions carry each tag's
bias and take the queries' shift out again (queries pass a ReLU, so that all are moved up first).

Shape legend: X training photos, C tags, F 1,280 features, D width of the decoder, E label space.
"""

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from ram_model import Ram
from research.ram_mini.lite2.features import Features
from research.ram_mini.lite2.source import load_network
from research.ram_mini.open import fit_projection, offsets
from research.ram_mini.probe import fit_probe

MOST_CLASSES = 4  # a tag of more classes of ImageNet has no score of theirs that is linear
SHIFT = 1.5  # of all queries, in deviations of their entries
SPREAD = 2.0  # least size of what an offset of length one does to a query
CALIBRATION_STEPS = 150


def start_from_teachers(
    model: Ram,
    features: Features,
    soft: np.ndarray,
    by_captions: np.ndarray,
    class_tags: np.ndarray,
    texts: Tensor,
    wheels: Path,
) -> Tensor:
    """Set image projection, label projection and direct term; return the offsets [C, E].

    Args:
        soft: the targets [rows, C + L]; by_captions: bool [C], captions teach the tag.
        class_tags: bool [1000, C], a class is of the tag.
        texts: the label embeddings [C + L, E] of names alone.
    """
    count = len(by_captions)
    rows = np.flatnonzero(features.trains)  # the whole photos
    pooled = features.pooled(rows)
    mean = pooled.mean(0)
    wanted = torch.from_numpy(soft[rows, :count].astype(np.float32))
    weight_CF = teacher_weights(pooled, wanted, by_captions, class_tags, wheels)
    scores = (pooled - mean) @ weight_CF.T  # [X, C]
    scale = scores.std(0) + 1e-6
    width = model.config.tag_decoder.hidden_dim
    rank = width - 2
    directions = torch.linalg.svd(scores / scale, full_matrices=False)[2][:rank]  # [rank, C]
    packed = (scores / scale) @ directions.T  # [X, rank]
    gain, bias = calibrate(packed @ directions, wanted)
    reduced = directions @ (weight_CF / scale[:, None])  # [rank, F]
    spread = packed.std(0)
    with torch.no_grad():
        rest = _principal(pooled - mean, model.config.label_dim - rank)
        projection = torch.cat([reduced / spread[:, None], rest])
        model.image_projection.weight.copy_(projection)
        model.image_projection.bias.copy_(-projection @ mean)
        return pack(model, directions, spread, gain, bias, texts[:count])


def linear_teachers(
    features: Features,
    soft: np.ndarray,
    by_captions: np.ndarray,
    class_tags: np.ndarray,
    wheels: Path,
) -> tuple[Tensor, Tensor]:
    """Return weight [C + L, F] and bias [C + L] that give logits of the mean token.

    Args:
        soft, by_captions, class_tags: as of `start_from_teachers`.
    """
    rows = np.flatnonzero(features.trains)
    pooled = features.pooled(rows)
    wanted = torch.from_numpy(soft[rows].astype(np.float32))
    others = soft.shape[1] - len(by_captions)
    taught = np.concatenate([by_captions, np.ones(others, bool)])
    no_class = np.zeros((len(class_tags), others), bool)
    weight = teacher_weights(
        pooled, wanted, taught, np.concatenate([class_tags, no_class], axis=1), wheels
    )
    scores = (pooled - pooled.mean(0)) @ weight.T
    scale = scores.std(0) + 1e-6
    gain, bias = calibrate(scores / scale, wanted)
    weight = weight * (gain / scale)[:, None]
    return weight, bias - weight @ pooled.mean(0)


@torch.no_grad()
def pack(
    model: Ram, directions: Tensor, spread: Tensor, gain: Tensor, bias: Tensor, texts: Tensor
) -> Tensor:
    """Set label projection, direct term and classifier; return the offsets [C, E].

    Args:
        directions: [rank, C]; spread: [rank], of the packed scores; gain, bias: [C].
    """
    assert model.direct is not None
    rank = len(directions)
    entries = (directions * gain).T * spread  # [C, rank]: logit = entries @ unit scores + bias
    unit = entries.std(0) + 1e-6
    queries = torch.cat([entries / unit, bias[:, None], torch.zeros(len(bias), 1)], dim=1)
    low = queries[:, rank].min() - 1
    queries[:, :rank] += SHIFT
    queries[:, rank] -= low  # positive
    queries[:, rank + 1] = 1.0
    queries = queries.clamp(min=0)
    root = queries.shape[1] ** 0.5
    direct = torch.zeros_like(model.direct.weight)
    direct[torch.arange(rank), torch.arange(rank)] = unit * root
    direct[rank + 1, :rank] = -SHIFT * unit * root  # takes the shift out again
    model.direct.weight.copy_(direct)
    model.direct.bias.zero_()
    model.direct.bias[rank] = root
    torch.nn.init.normal_(model.classifier.weight, std=0.02)
    model.classifier.bias.fill_(float(low))
    model.label_projection.load_state_dict(fit_projection(texts, queries).state_dict())
    model.label_projection.weight.add_(_spread_out(model.label_projection.weight))
    return offsets(model.label_projection, texts, queries)


def _spread_out(like: Tensor) -> Tensor:
    """Return what keeps a projection [D, E] from having directions that no offset can reach.

    The last two rows, bias and shift, lie where the text encoder says nothing, so that a word that
    is text alone has the mean bias and the whole shift.
    """
    rows = torch.nn.init.orthogonal_(torch.empty_like(like)) * SPREAD
    rows[-2:] = 0.0
    rows[-2, -2] = rows[-1, -1] = SPREAD
    return rows


def teacher_weights(
    pooled: Tensor, wanted: Tensor, by_captions: np.ndarray, class_tags: np.ndarray, wheels: Path
) -> Tensor:
    """Return the linear scores of all tags on pooled features, [C, F]."""
    head = load_network(wheels).get_submodule("classifier").get_parameter("weight").detach()
    classes = torch.from_numpy(class_tags.T.astype(np.float32))  # [C, 1000]
    number = classes.sum(1)
    weight = classes @ (head - head.mean(0)) / number.clamp(min=1)[:, None]
    probed = torch.from_numpy(by_captions) | (number == 0) | (number > MOST_CLASSES)
    probe = fit_probe(pooled, wanted[:, probed].numpy())
    weight[probed] = (probe.weight.detach() / probe.std[:, None]).T
    return weight


def calibrate(scores: Tensor, wanted: Tensor) -> tuple[Tensor, Tensor]:
    """Return gain and bias [C] with which scores [X, C] are the logits nearest to the targets."""
    prior = torch.logit(wanted.mean(0).clamp(1e-4, 1 - 1e-4))
    gain, bias = torch.ones(scores.shape[1], requires_grad=True), prior.requires_grad_(True)
    optimizer = torch.optim.Adam([gain, bias], lr=0.1)
    for _ in range(CALIBRATION_STEPS):
        loss = F.binary_cross_entropy_with_logits(scores * gain + bias, wanted, reduction="sum")
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    return gain.detach(), bias.detach()


def _principal(centred: Tensor, count: int) -> Tensor:
    """Return the first principal directions [count, F] that give unit deviations."""
    _, values, axes = torch.linalg.svd(centred, full_matrices=False)
    return axes[:count] / (values[:count, None] / len(centred) ** 0.5 + 1e-3)

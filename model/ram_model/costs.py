"""What a model costs: parameters and floating-point operations per image, part by part.

Counted on the model itself, without memory for its weights, so that any configuration can be asked
about. A multiplication and the addition after it are two operations; softmax, norms and
activations are left out, as is usual.
"""

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from ram_model.checkpoint import build_on_meta
from ram_model.config import RamConfig


class PartCost(NamedTuple):
    """Of one part of a model."""

    parameters: int
    gflop: float
    """Billions of operations per image, at batch 1."""


def count_costs(config: RamConfig) -> dict[str, PartCost]:
    """Return the cost of each part of a tagging model, in the order of the computation.

    The parts are image_encoder, image_projection, label_embeddings, label_projection, tag_decoder
    and classifier. What does not depend on the image costs nothing per image: RAM's label
    projection is done once per model. RAM++'s weighing of descriptions counts as label_embeddings.
    """
    model = build_on_meta(config).eval()
    side, width = config.image_size_px, config.tag_decoder.hidden_dim
    with torch.device("meta"):
        images = torch.zeros(1, 3, side, side)
        queries = torch.zeros(1, config.num_tags, width) if model.queries_are_constant else None
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model(images, queries)
    counts = counter.get_flop_counts()
    root = type(model).__name__
    flops = {part: sum(counts.get(f"{root}.{part}", {}).values()) for part in _PARTS}
    flops["label_embeddings"] = counter.get_total_flops() - sum(flops.values())
    parameters: dict[str, int] = dict.fromkeys(_PARTS, 0)
    for name, parameter in model.named_parameters():
        part = name.partition(".")[0].replace("reweight_scale", "label_embeddings")
        parameters[part] += parameter.numel()
    return {part: PartCost(parameters[part], flops[part] / 1e9) for part in _PARTS}


def total(costs: dict[str, PartCost]) -> PartCost:
    """Return the sum of all parts."""
    return PartCost(sum(c.parameters for c in costs.values()), sum(c.gflop for c in costs.values()))


_PARTS = (
    "image_encoder",
    "image_projection",
    "label_embeddings",
    "label_projection",
    "tag_decoder",
    "classifier",
)

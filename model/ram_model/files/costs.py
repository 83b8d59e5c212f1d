"""What a model costs: parameters and floating-point operations per image, part by part.

Counted on the model itself, without memory for its weights, so that any configuration can be asked
about. A multiplication and the addition after it are two operations; softmax, norms, activations
and products element by element are left out, as is usual.
"""

from typing import NamedTuple

import torch
from torch.utils.flop_counter import FlopCounterMode

from ram_model.config import RamConfig
from ram_model.networks.filling import build_on_meta
from ram_model.networks.ram import Ram

TAGGING_PARTS = (
    "image_encoder",
    "image_projection",
    "label_embeddings",
    "label_projection",
    "tag_decoder",
    "classifier",
    "direct",
)
TAG_PIECES, CAPTION_PIECES = 40, 30
"""Word pieces of the tag text and of a caption, for which the caption side is counted."""


class PartCost(NamedTuple):
    """Of one part of a model."""

    parameters: int
    gflop: float
    """Billions of operations per image, at batch 1."""


def count_costs(config: RamConfig) -> dict[str, PartCost]:
    """Return the cost of each part of a model, in the order of the computation.

    The parts are `TAGGING_PARTS`, and tag_encoder and text_decoder where the model has a caption
    side. What does not depend on the image costs nothing per image: RAM's label projection is done
    once per model. RAM++'s weighing of descriptions counts as label_embeddings. The text decoder
    is counted for one beam of 30 word pieces.
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
    flops = {part: sum(counts.get(f"{root}.{part}", {}).values()) for part in TAGGING_PARTS}
    flops["label_embeddings"] = counter.get_total_flops() - sum(flops.values())
    if config.captions is not None:
        flops |= _count_captions(model)
    parameters: dict[str, int] = dict.fromkeys(flops, 0)
    for name, parameter in model.named_parameters():
        part = name.removeprefix("caption_head.").partition(".")[0]
        part = part.replace("reweight_scale", "label_embeddings")
        parameters[part] += parameter.numel()
    return {part: PartCost(parameters[part], flops[part] / 1e9) for part in flops}


def total(costs: dict[str, PartCost]) -> PartCost:
    """Return the sum of all parts."""
    return PartCost(sum(c.parameters for c in costs.values()), sum(c.gflop for c in costs.values()))


def _count_captions(model: Ram) -> dict[str, int]:
    head = model.require_caption_head()
    num_tokens = model.config.image_encoder.num_tokens + 1
    with torch.device("meta"):
        tags, caption = (torch.zeros(1, n, dtype=torch.long) for n in (TAG_PIECES, CAPTION_PIECES))
        tokens = torch.zeros(1, num_tokens, model.config.token_dim)
    with torch.no_grad():
        with FlopCounterMode(display=False) as encoding:
            memory = head.tag_encoder(tags, tags == 0, tokens, model.tag_decoder.layers)
        with FlopCounterMode(display=False) as decoding:
            head.text_decoder(caption, caption == 0, memory)
    return {
        "tag_encoder": encoding.get_total_flops(),
        "text_decoder": decoding.get_total_flops(),
    }

"""What each model of the family is trained on: its losses, weighted as in the reference.

Shape legend: B images, S image side, C tags, E label space.
"""

from typing import NamedTuple

from torch import Tensor

from ram_model.losses import alignment_loss, asymmetric_loss, distillation_loss
from ram_model.ram import Ram
from ram_model.ram_plus import RamPlus


class Losses(NamedTuple):
    """Scalars in float32; None where a model does not have that loss."""

    total: Tensor
    """What is minimised."""
    tag: Tensor
    distillation: Tensor | None = None
    alignment: Tensor | None = None


def ram_losses(model: Ram, images_B3SS: Tensor, tags_BC: Tensor, clip_images_BE: Tensor) -> Losses:
    """Return RAM's losses without captions: tag + distillation.

    Args:
        images_B3SS: float, normalised with CLIP's statistics (`ram_model.transforms`).
        tags_BC: 1 for the tags of an image, 0 for the others.
        clip_images_BE: image features of CLIP ViT-B/16, not normalised.
    """
    tokens_BTE = model.encode_images(images_B3SS)
    tag = asymmetric_loss(model.decode_tags(tokens_BTE, model.label_queries(tokens_BTE)), tags_BC)
    distillation = distillation_loss(tokens_BTE[:, 0], clip_images_BE)
    return Losses(tag + distillation, tag, distillation)


def ram_plus_losses(
    model: RamPlus,
    images_B3SS: Tensor,
    tags_BC: Tensor,
    clip_images_BE: Tensor,
    clip_captions_BE: Tensor,
) -> Losses:
    """Return RAM++'s losses: tag + distillation + alignment (arXiv 2310.15200, section 3.2).

    Args:
        images_B3SS: float, normalised with CLIP's statistics (`ram_model.transforms`).
        tags_BC: 1 for the tags of an image, 0 for the others.
        clip_images_BE: image features of CLIP ViT-B/16, not normalised.
        clip_captions_BE: text features of the images' captions, unit rows.
    """
    tokens_BTE = model.encode_images(images_B3SS)
    tag = asymmetric_loss(model.decode_tags(tokens_BTE, model.label_queries(tokens_BTE)), tags_BC)
    distillation = distillation_loss(tokens_BTE[:, 0], clip_images_BE)
    alignment = alignment_loss(model.caption_logits(tokens_BTE, clip_captions_BE))
    return Losses(tag + distillation + alignment, tag, distillation, alignment)

"""What each model of the family is trained on: its losses, weighted as in the reference.

Images are normalised with CLIP's statistics (`ram_model.transforms`), as all training is there.
Shape legend: B images, S image side, C tags, T image tokens, E label space, R pieces of a tag
text, D decoder width, L pieces of a caption.
"""

from collections.abc import Sequence
from typing import NamedTuple, Self

import torch
from torch import Tensor

from ram_model.captioning import TAG_SEPARATOR
from ram_model.networks.ram import Ram
from ram_model.networks.ram_plus import RamPlus
from ram_model.networks.tag2text import Tag2Text
from ram_model.training.losses import (
    alignment_loss,
    as_large_as,
    asymmetric_loss,
    caption_loss,
    distillation_loss,
)
from ram_model.wordpiece import WordPieceTokenizer


class Losses(NamedTuple):
    """Scalars; None where a model does not have that loss."""

    total: Tensor
    """What is minimised: the others, weighted."""
    tag: Tensor
    caption: Tensor | None = None
    distillation: Tensor | None = None
    alignment: Tensor | None = None


class CaptionBatch(NamedTuple):
    """One caption per image, and the tags that it names, as word pieces."""

    tag_pieces: Tensor
    """int64 [B, R], the tags as text."""
    tag_mask: Tensor
    """bool [B, R], True at pieces."""
    pieces: Tensor
    """int64 [B, L], the captions."""
    mask: Tensor
    """bool [B, L], True at pieces."""

    def to(self, device: torch.device | str) -> Self:
        """Return the batch on another device."""
        return self._make(part.to(device) for part in self)

    @classmethod
    def encode(
        cls,
        tokenizer: WordPieceTokenizer,
        captions: Sequence[str],
        tags: Sequence[Sequence[str]],
    ) -> Self:
        """Return captions (not prefixed with the prompt) and tag names as tensors on the CPU.

        Args:
            captions: of each image.
            tags: found in each caption, in ascending order of id.
        """
        texts = [TAG_SEPARATOR.join(names) for names in tags]
        return cls(*tokenizer.encode_tags(texts), *tokenizer.encode_captions(captions))


def ram_losses(
    model: Ram,
    images_B3SS: Tensor,
    tags_BC: Tensor,
    clip_images_BE: Tensor,
    captions: CaptionBatch | None = None,
) -> Losses:
    """Return RAM's losses (arXiv 2306.03514).

    With captions, the reference's total: caption + tag, made as large as caption, + distillation.
    Without, for images that have tags only: tag + distillation.

    Args:
        images_B3SS: float, normalised.
        tags_BC: 1 for the tags of an image (of all its captions), 0 for the others.
        clip_images_BE: image features of CLIP ViT-B/16, not normalised.

    Raises:
        CaptionError: captions, but a model without a caption side.
    """
    tokens_BTE = model.encode_images(images_B3SS)
    tag = _tag_loss(model, tokens_BTE, tags_BC)
    distillation = distillation_loss(tokens_BTE[:, 0], clip_images_BE)
    if captions is None:
        return Losses(tag + distillation, tag, distillation=distillation)
    caption = _caption_loss(model, tokens_BTE, captions)
    total = caption + as_large_as(tag, caption) + distillation
    return Losses(total, tag, caption, distillation)


def ram_plus_losses(
    model: RamPlus,
    images_B3SS: Tensor,
    tags_BC: Tensor,
    clip_images_BE: Tensor,
    clip_captions_BE: Tensor,
) -> Losses:
    """Return RAM++'s losses: tag + distillation + alignment (arXiv 2310.15200).

    Args:
        images_B3SS: float, normalised.
        tags_BC: 1 for the tags of an image (of all its captions), 0 for the others.
        clip_images_BE: image features of CLIP ViT-B/16, not normalised.
        clip_captions_BE: text features of the images' captions, unit rows.
    """
    tokens_BTE = model.encode_images(images_B3SS)
    tag = _tag_loss(model, tokens_BTE, tags_BC)
    distillation = distillation_loss(tokens_BTE[:, 0], clip_images_BE)
    alignment = alignment_loss(model.caption_logits(tokens_BTE, clip_captions_BE))
    total = tag + distillation + alignment
    return Losses(total, tag, distillation=distillation, alignment=alignment)


def tag2text_losses(
    model: Tag2Text, images_B3SS: Tensor, tags_BC: Tensor, captions: CaptionBatch
) -> Losses:
    """Return Tag2Text's losses: caption + tag, made as large as caption (arXiv 2303.05657).

    Args:
        images_B3SS: float, normalised.
        tags_BC: 1 for the tags that the image's caption names, 0 for the others.

    Raises:
        CaptionError: the model has no caption side.
    """
    tokens_BTE = model.encode_images(images_B3SS)
    tag = _tag_loss(model, tokens_BTE, tags_BC)
    caption = _caption_loss(model, tokens_BTE, captions)
    return Losses(caption + as_large_as(tag, caption), tag, caption)


def _tag_loss(model: Ram, tokens_BTE: Tensor, tags_BC: Tensor) -> Tensor:
    return asymmetric_loss(model.decode_tags(tokens_BTE, model.label_queries(tokens_BTE)), tags_BC)


def _caption_loss(model: Ram, tokens_BTE: Tensor, captions: CaptionBatch) -> Tensor:
    memory_BRD = model.encode_tag_text(captions.tag_pieces, captions.tag_mask, tokens_BTE)
    decoder = model.require_caption_head().text_decoder
    return caption_loss(decoder(captions.pieces, captions.mask, memory_BRD), captions.pieces)

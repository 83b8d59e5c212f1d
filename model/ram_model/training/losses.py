"""Training losses of the family, each a function of tensors; `training_losses` sums them.

All are computed and returned in float32, or in float64 where the input is that.

Shape legend: B images, C tags, E label space, L caption length in word pieces, W vocabulary.
"""

import torch
from torch import Tensor
from torch.nn import functional as F

# Of the reference (recognize-anything, `ram/models/ram.py`, `ram_plus.py`).
TAG_GAMMA_NEG = 7.0
ALIGNMENT_GAMMA_NEG = 4.0
LABEL_SMOOTHING = 0.1
UNSCORED_PIECES = 4
"""First positions of a caption that are no target: the length of "[DEC] a picture of". The
reference masks them although its training captions do not start with these words."""


def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    known: Tensor | None = None,
    gamma_neg: float = TAG_GAMMA_NEG,
    gamma_pos: float = 0.0,
    clip: float = 0.05,
    eps: float = 1e-8,
) -> Tensor:
    """Return the asymmetric loss (arXiv 2009.14119), summed over images and tags.

    Easy negatives count less: their probability is lowered by `clip` and their loss weighted by
    what remains, to the power of `gamma_neg`. The weight carries no gradient. The defaults are
    those RAM is trained with; RAM++'s alignment uses gamma_neg 4.

    Args:
        logits: [B, C], any real number.
        targets: [B, C], 1 for the tags of an image, 0 for the others; or anything between.
        known: bool [B, C], False where nobody knows: no loss there; None: all are known.

    Returns:
        A scalar >= 0. It is a sum: divide by B to compare batches of different size.
    """
    logits = _in_full(logits)
    targets = targets.to(logits.dtype)
    positive = torch.sigmoid(logits)
    negative = (1 - positive + clip).clamp(max=1)
    log_likelihood = targets * positive.clamp(min=eps).log()
    log_likelihood = log_likelihood + (1 - targets) * negative.clamp(min=eps).log()
    right = (positive * targets + negative * (1 - targets)).detach()
    weight = (1 - right) ** (gamma_pos * targets + gamma_neg * (1 - targets))
    loss = weight * log_likelihood
    return -(loss if known is None else loss * known).sum()


def distillation_loss(image_BE: Tensor, teacher_BE: Tensor) -> Tensor:
    """Return the mean absolute difference to CLIP's image features (RAM, arXiv 2306.03514).

    Args:
        image_BE: the whole-image token of `Ram.encode_images`, index 0.
        teacher_BE: image features of CLIP ViT-B/16, not normalised; constants.

    Returns:
        A scalar >= 0.
    """
    return F.l1_loss(_in_full(image_BE), _in_full(teacher_BE))


def alignment_loss(logits_BB: Tensor) -> Tensor:
    """Return RAM++'s image-text alignment loss (arXiv 2310.15200), a sum.

    The asymmetric loss with the captions of a batch as its tags: each image's own caption is the
    one positive. As in the reference, equal captions in a batch count as each other's negatives.

    Args:
        logits_BB: [image, caption], from `RamPlus.caption_logits`.
    """
    own = torch.eye(len(logits_BB), device=logits_BB.device)
    return asymmetric_loss(logits_BB, own, gamma_neg=ALIGNMENT_GAMMA_NEG)


def caption_loss(logits_BLW: Tensor, piece_ids_BL: Tensor, *, pad_id: int = 0) -> Tensor:
    """Return the language-model loss of captions: cross entropy with label smoothing.

    Position i predicts piece i + 1. Padding and the first `UNSCORED_PIECES` pieces of a caption
    are no targets; the others count equally, whatever the length of their caption.

    Args:
        logits_BLW: of the text decoder, any real number.
        piece_ids_BL: int64, the captions it read, [DEC] first, padded with `pad_id` at the end.

    Returns:
        A scalar >= 0; 0 (with zero gradients) where no caption is long enough.
    """
    targets_BL = piece_ids_BL.masked_fill(piece_ids_BL == pad_id, -100)
    targets_BL[:, :UNSCORED_PIECES] = -100
    targets = targets_BL[:, 1:].flatten()
    logits = _in_full(logits_BLW[:, :-1]).flatten(0, 1)
    summed = F.cross_entropy(
        logits, targets, ignore_index=-100, label_smoothing=LABEL_SMOOTHING, reduction="sum"
    )
    return summed / (targets != -100).sum().clamp(min=1)


def as_large_as(loss: Tensor, other: Tensor) -> Tensor:
    """Return `loss` scaled to the present value of `other`; the factor carries no gradient.

    So the reference weighs tagging against captioning. Where either is 0, the factor is 1.
    """
    ratio = (loss / other).detach()
    usable = ratio.isfinite() & (ratio > 0)
    return loss / torch.where(usable, ratio, torch.ones_like(ratio))


def _in_full(values: Tensor) -> Tensor:
    return values.to(torch.promote_types(values.dtype, torch.float32))

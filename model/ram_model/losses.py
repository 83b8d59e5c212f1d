"""Training losses of the tagging path."""

import torch
from torch import Tensor


def asymmetric_loss(
    logits: Tensor,
    targets: Tensor,
    *,
    gamma_neg: float = 7.0,
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
        targets: [B, C], 1 for the tags of an image, 0 for the others.

    Returns:
        A scalar >= 0, in float32. It is a sum: divide by B to compare batches of different size.
    """
    targets = targets.float()
    positive = torch.sigmoid(logits.float())
    negative = (1 - positive + clip).clamp(max=1)
    log_likelihood = targets * positive.clamp(min=eps).log()
    log_likelihood = log_likelihood + (1 - targets) * negative.clamp(min=eps).log()
    right = (positive * targets + negative * (1 - targets)).detach()
    weight = (1 - right) ** (gamma_pos * targets + gamma_neg * (1 - targets))
    return -(weight * log_likelihood).sum()

"""RAM++: RAM with several text descriptions per tag, weighted by the image (arXiv 2310.15200).

Shape legend as in `ram_model.ram`, and K descriptions per tag.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ram_model.config import RamConfig
from ram_model.ram import Ram


class RamPlus(Ram):
    """RAM whose label queries depend on the image (RAM++ paper, section 3.3)."""

    queries_are_constant = False

    def __init__(self, config: RamConfig) -> None:
        super().__init__(config)
        # CLIP's initial temperature; learned, used as exp()
        self.reweight_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def label_queries(self, tokens_BTE: Tensor | None = None) -> Tensor:
        """Return the label queries of each image, [B, C, D] (>= 0)."""
        if tokens_BTE is None:
            raise ValueError("RAM++ makes its label queries from image tokens; none were given.")
        return F.relu(self.label_projection(self._weigh_descriptions(tokens_BTE[:, 0])))

    def _weigh_descriptions(self, images_BE: Tensor) -> Tensor:
        """Return each tag's descriptions averaged by their likeness to the image, [B, C, E].

        One product with all C * K rows and one batched product over tags: nothing of size
        B * C * K * E exists, and there is no loop over images.
        """
        rows_CKE = self.label_embeddings.unflatten(0, (self.config.num_tags, -1))
        directions_BE = images_BE / images_BE.norm(dim=-1, keepdim=True)
        likeness_BR = self.reweight_scale.exp() * (directions_BE @ self.label_embeddings.T)
        weights_BCK = likeness_BR.unflatten(1, rows_CKE.shape[:2]).float().softmax(dim=-1)
        weights_CBK = weights_BCK.to(rows_CKE.dtype).transpose(0, 1)
        return torch.bmm(weights_CBK, rows_CKE).transpose(0, 1)

"""RAM++: RAM with several text descriptions per tag, weighted by the image (arXiv 2310.15200).

Shape legend as in `ram_model.networks.ram`, and K descriptions per tag (the most that a tag has).
"""

import math
from collections.abc import Sequence
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ram_model.config import Kind, RamConfig
from ram_model.networks.ram import Ram, check_labels


class RamPlus(Ram):
    """RAM whose label queries depend on the image (RAM++, arXiv 2310.15200)."""

    kind: ClassVar[Kind] = "ram_plus"
    queries_are_constant = False

    absent: Tensor | None
    """bool [C, K]: True where a tag has fewer than K descriptions; None where all have K."""

    def __init__(self, config: RamConfig) -> None:
        super().__init__(config)
        # CLIP's initial temperature; learned, used as exp()
        self.reweight_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))
        self.register_buffer("absent", None, persistent=False)

    def label_queries(self, tokens_BTE: Tensor | None = None) -> Tensor:
        """Return the label queries of each image, [B, C, D] (>= 0)."""
        if tokens_BTE is None:
            raise ValueError("RAM++ makes its label queries from image tokens; none were given.")
        return F.relu(self.label_projection(self._weigh_descriptions(tokens_BTE[:, 0])))

    def caption_logits(self, tokens_BTE: Tensor, captions_NE: Tensor) -> Tensor:
        """Return how well each caption fits each image, logits [B, N]; for the alignment loss.

        Args:
            tokens_BTE: the result of `encode_images`.
            captions_NE: text features of CLIP ViT-B/16, unit rows; they take the labels' place.
        """
        captions_NE = captions_NE.to(self.label_embeddings.dtype)
        queries_1ND = F.relu(self.label_projection(captions_NE)).unsqueeze(0)
        return self.decode_tags(tokens_BTE, queries_1ND)

    def select_tags(self, tag_ids: Sequence[int]) -> Self:
        """Return a model of only these tags; as `Ram.select_tags`."""
        subset = super().select_tags(tag_ids)
        if self.absent is not None:
            subset.absent = self.absent[list(tag_ids)]
        return subset

    def append_tags(self, labels: Sequence[Tensor]) -> Self:
        """Return a model with new tags after its own; as `Ram.append_tags`.

        Tags may differ in their numbers of descriptions: shorter ones are padded with zero rows
        that get no weight, so a tag scores the same whatever stands beside it.
        """
        counts = [len(rows) for rows in check_labels(labels, self.config.label_dim)]
        rows_CKE = self.label_embeddings.detach().unflatten(0, (self.config.num_tags, -1))
        num_tags, own, _ = rows_CKE.shape
        most = max(own, *counts)
        wider_CKE = rows_CKE.new_zeros(num_tags + len(labels), most, self.config.label_dim)
        wider_CKE[:num_tags, :own] = rows_CKE
        absent_CK = torch.ones(wider_CKE.shape[:2], dtype=torch.bool, device=rows_CKE.device)
        absent_CK[:num_tags, :own] = False if self.absent is None else self.absent
        for position, rows in enumerate(labels, start=num_tags):
            wider_CKE[position, : len(rows)] = rows.to(rows_CKE)
            absent_CK[position, : len(rows)] = False
        model = self._with_labels(wider_CKE)
        model.absent = absent_CK if absent_CK.any() else None
        return model

    def _weigh_descriptions(self, images_BE: Tensor) -> Tensor:
        """Return each tag's descriptions averaged by their likeness to the image, [B, C, E].

        One product with all C * K rows and one batched product over tags: nothing of size
        B * C * K * E exists, and there is no loop over images.
        """
        rows_CKE = self.label_embeddings.unflatten(0, (self.config.num_tags, -1))
        directions_BE = images_BE / images_BE.norm(dim=-1, keepdim=True)
        likeness_BR = self.reweight_scale.exp() * (directions_BE @ self.label_embeddings.T)
        likeness_BCK = likeness_BR.unflatten(1, rows_CKE.shape[:2]).float()
        if self.absent is not None:
            likeness_BCK = likeness_BCK.masked_fill(self.absent, -math.inf)
        weights_CBK = likeness_BCK.softmax(dim=-1).to(rows_CKE.dtype).transpose(0, 1)
        return torch.bmm(weights_CBK, rows_CKE).transpose(0, 1)

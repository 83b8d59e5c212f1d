"""RAM: the Recognize Anything Model, tagging path (arXiv 2306.03514).

Shape legend: B images, S image side in pixels, T tokens with the mean token, V encoder width,
E label_dim, C tags, D decoder width, Q 1 or B, H heads,
P width of a head.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import ClassVar, Self

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ram_model.config import Kind, RamConfig
from ram_model.errors import CaptionError
from ram_model.networks.caption_head import CaptionHead
from ram_model.networks.image_encoder import build_image_encoder
from ram_model.networks.tag_decoder import TagDecoder


class Ram(nn.Module):
    """Images to one logit per tag; every tag is decided on its own."""

    kind: ClassVar[Kind] = "ram"
    """Of the configurations that the class takes."""
    queries_are_constant = True
    """Label queries are the same for all images, so that callers may compute them once."""

    def __init__(self, config: RamConfig) -> None:
        """Build the model with random weights.

        Raises:
            ValueError: the configuration is of another kind.
        """
        super().__init__()
        if config.kind != self.kind:
            name = type(self).__name__
            raise ValueError(f"kind is {config.kind!r}, but must be {self.kind!r} for {name}.")
        self.config = config
        width = config.tag_decoder.hidden_dim
        self.image_encoder = build_image_encoder(config.image_encoder)
        self.image_projection = nn.Linear(config.image_encoder.width, config.label_dim)
        rows = torch.empty(config.num_label_rows, config.label_dim)
        if not rows.is_meta:  # torch loads its compiler to compute there
            rows = F.normalize(rows.normal_(), dim=-1)
        self.label_embeddings = nn.Parameter(rows, requires_grad=config.train_labels)
        self.label_projection = nn.Linear(config.label_dim, width)
        self.tag_decoder = TagDecoder(config.tag_decoder, token_dim=config.token_dim)
        self.classifier = nn.Linear(width, 1)
        self.direct = nn.Linear(config.token_dim, width) if config.direct else None
        captions = config.captions
        self.caption_head = None if captions is None else CaptionHead(captions, config)

    def forward(self, images_B3SS: Tensor, queries_QCD: Tensor | None = None) -> Tensor:
        """Return logits [B, C]; sigmoid makes them scores.

        Args:
            images_B3SS: float [B, 3, S, S], RGB, normalised with the ImageNet statistics.
            queries_QCD: the result of `label_queries`, to save computing it; None computes it.

        Raises:
            ValueError: the images have another shape.
        """
        tokens_BTE = self.encode_images(images_B3SS)
        if queries_QCD is None:
            queries_QCD = self.label_queries(tokens_BTE)
        return self.decode_tags(tokens_BTE, queries_QCD)

    def encode_images(self, images_B3SS: Tensor) -> Tensor:
        """Return image tokens in label space, [B, T, E]; index 0 is the whole image."""
        return self.image_projection(self.image_encoder(images_B3SS))

    def label_queries(self, tokens_BTE: Tensor | None = None) -> Tensor:
        """Return the label queries, [1, C, D] (>= 0); RAM's do not depend on the images."""
        return F.relu(self.label_projection(self.label_embeddings)).unsqueeze(0)

    def decode_tags(
        self, tokens_BTE: Tensor, queries_QCD: Tensor, projected_QHCP: Tensor | None = None
    ) -> Tensor:
        """Return logits [B, C] from the results of `encode_images` and `label_queries`.

        Args:
            projected_QHCP: the result of `TagDecoder.project_queries`; None computes it.
        """
        states_BCD = self.tag_decoder(queries_QCD, tokens_BTE, projected_QHCP)
        logits_BC = self.classifier(states_BCD).squeeze(-1)
        if self.direct is None:
            return logits_BC
        whole_BD1 = self.direct(tokens_BTE[:, 0]).unsqueeze(-1)
        return logits_BC + (queries_QCD @ whole_BD1).squeeze(-1) / whole_BD1.shape[1] ** 0.5

    def encode_tag_text(self, piece_ids_BR: Tensor, mask_BR: Tensor, tokens_BTE: Tensor) -> Tensor:
        """Return the memory [B, R, D] from which the text decoder writes captions.

        Args:
            piece_ids_BR: int64, the tags of each image as text, from a `WordPieceTokenizer`.
            mask_BR: 1 or True at pieces, 0 or False at padding.
            tokens_BTE: the result of `encode_images`.

        Raises:
            CaptionError: the model has no caption side.
        """
        encoder = self.require_caption_head().tag_encoder
        return encoder(piece_ids_BR, mask_BR, tokens_BTE, self.tag_decoder.layers)

    def require_caption_head(self) -> CaptionHead:
        """Return the caption side.

        Raises:
            CaptionError: the model has none.
        """
        if self.caption_head is None:
            raise CaptionError("This model has no caption decoder: it only tags.")
        return self.caption_head

    def select_tags(self, tag_ids: Sequence[int]) -> Self:
        """Return a model of only these tags, in this order; all other weights are shared.

        Exact, because labels do not see each other: its logits are those columns of the full
        model's, at a decoder cost in proportion.

        Raises:
            ValueError: no id, or one outside 0..num_tags - 1.
        """
        outside = [tag_id for tag_id in tag_ids if not 0 <= tag_id < self.config.num_tags]
        if outside or not tag_ids:
            last = self.config.num_tags - 1
            raise ValueError(f"tag_ids holds {outside}, but must be ids from 0 to {last}.")
        rows_CKE = self.label_embeddings.detach().unflatten(0, (self.config.num_tags, -1))
        return self._with_labels(rows_CKE[list(tag_ids)])

    def append_tags(self, labels: Sequence[Tensor]) -> Self:
        """Return a model that also decides on new tags, after its own; other weights are shared.

        Args:
            labels: one float [K, E] per new tag, unit rows in the space of `label_embeddings`;
                K is 1 here, and any number from 1 in RAM++.

        Raises:
            ValueError: no labels, or one of another shape.
        """
        for rows in check_labels(labels, self.config.label_dim):
            if len(rows) != 1:
                raise ValueError(f"labels holds {len(rows)} rows for a tag, but RAM takes one.")
        new_C1E = torch.stack(list(labels)).to(self.label_embeddings)
        rows_CKE = self.label_embeddings.detach().unflatten(0, (self.config.num_tags, -1))
        return self._with_labels(torch.cat([rows_CKE, new_C1E]))

    def _with_labels(self, rows_CKE: Tensor) -> Self:
        """Return a model of these label embeddings and this one's other weights."""
        num_tags, descriptions, _ = rows_CKE.shape
        sizes = {"num_tags": num_tags, "descriptions_per_tag": descriptions}
        with torch.device("meta"):
            other = type(self)(replace(self.config, **sizes))
        for name, child in self.named_children():
            setattr(other, name, child)
        for name, parameter in self.named_parameters(recurse=False):
            setattr(other, name, parameter)
        other.label_embeddings = nn.Parameter(
            rows_CKE.flatten(0, 1), requires_grad=self.config.train_labels
        )
        return other.train(self.training)


def check_labels(labels: Sequence[Tensor], label_dim: int) -> Sequence[Tensor]:
    """Return `labels` after a check of their shapes."""
    if not labels:
        raise ValueError("labels is empty, but must hold the rows of at least one tag.")
    for rows in labels:
        if rows.ndim != 2 or rows.shape[0] == 0 or rows.shape[1] != label_dim:
            shape = tuple(rows.shape)
            raise ValueError(f"labels holds {shape}, but must hold (K, {label_dim}), K from 1.")
    return labels

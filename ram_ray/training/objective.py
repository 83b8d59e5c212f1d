"""What is minimised: the losses of the family, summed so that the split over workers is not seen.

Every loss is a sum over samples, divided by a count of the whole step. A worker that holds any
part of the step adds its part of the gradient, and the sum over workers is that of one worker
with all of it. Shape legend: B images, S side, C tags, E label space, L pieces of a caption.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from ram_model.networks.normalisation import Normalisation
from ram_model.networks.ram import Ram
from ram_model.networks.ram_plus import RamPlus
from ram_model.training.losses import (
    ALIGNMENT_GAMMA_NEG,
    LABEL_SMOOTHING,
    UNSCORED_PIECES,
    asymmetric_loss,
)
from ram_model.training.training_losses import CaptionBatch
from ram_model.transforms import CLIP_MEAN, CLIP_STD, IMAGENET_MEAN, IMAGENET_STD
from ram_ray.training.config import TrainConfig
from ram_ray.training.trained import Trained


class Batch(NamedTuple):
    """The images of one forward pass, on the model's device."""

    num_samples: int
    """Of the step; an empty part is one image of no weight, so that all workers do the same."""
    pixels: Tensor
    """uint8 [B, S, S, 3]."""
    present: Tensor
    """float32 [B], 0 for an image that could not be had: it costs nothing."""
    targets: Tensor
    """float32 [B, C], 0..1."""
    known: Tensor
    """bool [B, C]."""
    captions: CaptionBatch | None = None
    teacher: Tensor | None = None
    """float32 [B, E] image features; NaN rows where the teacher has none."""
    texts: Tensor | None = None
    """float32 [G, E], unit rows: text features of the whole step's captions."""
    own_text: Tensor | None = None
    """int64 [B]: which of `texts` is each image's own."""

    def counts(self) -> dict[str, float]:
        """Return by loss what its sum over the step is divided by, as far as this batch goes."""
        images = float(self.num_samples)
        found = {"tag": images, "alignment": images, "distillation": 0.0, "caption": 0.0}
        if self.teacher is not None:
            found["distillation"] = float((~self.teacher[:, :1].isnan()).sum())
        if self.captions is not None:
            found["caption"] = float(_scored(self.captions, self.present).sum())
        return found


def _scored(captions: CaptionBatch, present: Tensor) -> Tensor:
    """Return which pieces are targets, bool [B, L - 1]; the loss of an absent image has none."""
    scored = captions.mask.bool()[:, 1:].clone()
    scored[:, : UNSCORED_PIECES - 1] = False
    return scored & (present > 0)[:, None]


class Objective(Trained):
    """A model with its losses: what DDP and FSDP wrap."""

    def __init__(self, model: Ram, config: TrainConfig) -> None:
        super().__init__()
        self.model = model
        clip = config.statistics == "clip"
        mean, std = (CLIP_MEAN, CLIP_STD) if clip else (IMAGENET_MEAN, IMAGENET_STD)
        self.normalisation = Normalisation(mean, std)
        self._gamma_neg = config.gamma_neg
        weights = {
            "tag": config.tag_weight,
            "caption": config.caption_weight,
            "distillation": config.distillation_weight,
            "alignment": config.alignment_weight,
        }
        self.weights = {name: weight for name, weight in weights.items() if weight > 0}

    def forward(self, batch: Batch) -> dict[str, Tensor]:
        """Return the sum of each loss in use over the batch's samples, float32 scalars."""
        tokens_BTE = self.model.encode_images(self.normalisation(batch.pixels))
        sums = {}
        if "tag" in self.weights:
            sums["tag"] = self._tag(tokens_BTE, batch)
        if "distillation" in self.weights:
            assert batch.teacher is not None
            sums["distillation"] = _distillation(tokens_BTE[:, 0], batch.teacher, batch.present)
        if "caption" in self.weights:
            assert batch.captions is not None
            sums["caption"] = self._caption(tokens_BTE, batch.captions, batch.present)
        if "alignment" in self.weights:
            sums["alignment"] = self._alignment(tokens_BTE, batch)
        return sums

    def _tag(self, tokens_BTE: Tensor, batch: Batch) -> Tensor:
        logits = self.model.decode_tags(tokens_BTE, self.model.label_queries(tokens_BTE))
        known = batch.known & (batch.present > 0)[:, None]
        return asymmetric_loss(logits, batch.targets, known=known, gamma_neg=self._gamma_neg)

    def _caption(self, tokens_BTE: Tensor, captions: CaptionBatch, present: Tensor) -> Tensor:
        memory = self.model.encode_tag_text(captions.tag_pieces, captions.tag_mask, tokens_BTE)
        decoder = self.model.require_caption_head().text_decoder
        logits = decoder(captions.pieces, captions.mask, memory)[:, :-1].float()
        scored = _scored(captions, present)
        targets = captions.pieces[:, 1:].masked_fill(~scored, -100)
        return F.cross_entropy(
            logits.flatten(0, 1),
            targets.flatten(),
            ignore_index=-100,
            label_smoothing=LABEL_SMOOTHING,
            reduction="sum",
        )

    def _alignment(self, tokens_BTE: Tensor, batch: Batch) -> Tensor:
        assert isinstance(self.model, RamPlus)
        assert batch.texts is not None
        assert batch.own_text is not None
        logits = self.model.caption_logits(tokens_BTE, batch.texts)
        own = F.one_hot(batch.own_text, len(batch.texts)).float()
        known = (batch.present > 0)[:, None].expand_as(own)
        return asymmetric_loss(logits, own, known=known, gamma_neg=ALIGNMENT_GAMMA_NEG)


def _distillation(image_BE: Tensor, teacher_BE: Tensor, present: Tensor) -> Tensor:
    taught = ~teacher_BE.isnan() & (present > 0)[:, None]
    difference = image_BE.float() - torch.where(taught, teacher_BE, image_BE.detach().float())
    return difference.abs().mean(1).sum()

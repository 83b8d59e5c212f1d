"""ram-mini while it learns: the model with a helping head, and how far it is from its teachers."""

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ram_model import Ram, RamConfig, load_folder, variant
from ram_model.config import OPEN_SET_THRESHOLD
from research.ram_mini.prepare import TagLine, has_fast_bfloat16, read_tags
from research.ram_mini.teacher import Lesson, Teacher


class Student(nn.Module):
    """RAM and the linear tag head that helps its image encoder in training only."""

    def __init__(self, config: RamConfig, prior: np.ndarray) -> None:
        super().__init__()
        self.ram = Ram(config)
        self.tag_head = nn.Linear(config.image_encoder.width, config.num_tags)
        start = torch.logit(torch.from_numpy(prior).clamp(1e-4, 1 - 1e-4))
        with torch.no_grad():
            self.tag_head.bias.copy_(start)
            self.ram.classifier.bias.fill_(start.mean())

    def forward(self, images: Tensor, columns: Tensor | None = None) -> "Taught":
        """Return what it makes of images [B, 3, 128, 128]; logits of all tags or some columns."""
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
            encoded = self.ram.image_encoder(images)
            tokens = self.ram.image_projection(encoded)
            queries = self.ram.label_queries()
            queries = queries if columns is None else queries[:, columns]
            logits = self.ram.decode_tags(tokens, queries)
            head_logits = self.tag_head(encoded[:, 0])
        return Taught(tokens.float(), logits.float(), head_logits.float())


class Taught(NamedTuple):
    """What the student makes of a batch."""

    tokens: Tensor
    """Projected, [B, 17, 512]: the mean token, then the cells."""
    logits: Tensor
    """Of the tag decoder, [B, columns]."""
    head_logits: Tensor
    """Of the linear head, [B, C]."""


def teacher_losses(
    taught: Taught, lesson: Lesson, columns: Tensor, teacher: Teacher
) -> dict[str, Tensor]:
    """Return how far the student is from each thing that the teacher says."""
    cells = taught.tokens[:, 1:]
    pooled_error = (taught.tokens[:, 0] - lesson.cells.mean(1)) / teacher.pooled_std
    with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
        classes = teacher.class_logits(cells).float().log_softmax(1)
        wanted = teacher.class_logits(lesson.cells).float().softmax(1)
    soft = lesson.soft[:, columns]
    return {
        "cells": F.mse_loss(cells, lesson.cells),
        "pooled": pooled_error.square().mean(),
        "classes": F.kl_div(classes, wanted, reduction="batchmean"),
        "soft": tag_distillation(taught.logits, soft) * (lesson.soft.shape[1] / len(columns)),
        "head": tag_distillation(taught.head_logits, lesson.soft),
    }


def tag_distillation(logits: Tensor, soft: Tensor) -> Tensor:
    """Return the cross entropy to the teacher's tag probabilities, summed over tags."""
    loss = F.binary_cross_entropy_with_logits(logits, soft, reduction="sum")
    return loss / len(soft)


def mini_config(num_tags: int, embed_dim: int | None = None) -> RamConfig:
    """Return variant "mini" for this vocabulary; the tag decoder is too narrow for dropout.

    Args:
        embed_dim: another width of the image encoder's first stage.
    """
    config = variant("mini", num_tags=num_tags)
    if embed_dim is not None:
        encoder = replace(config.image_encoder, embed_dim=embed_dim)
        config = replace(config, image_encoder=encoder)
    return replace(config, tag_decoder=replace(config.tag_decoder, dropout=0.0))


def begin_from(folder: Path) -> Ram:
    """Return the model of a folder, with the tags of the vocabulary file."""
    loaded = load_folder(folder)
    assert isinstance(loaded.model, Ram)
    if not loaded.config.train_labels:
        print(
            f"{folder} has label queries made of text: they are learned from here on. Run "
            "research.ram_mini.open on the result, so that it takes new words again."
        )
    return widened(loaded.model, loaded.vocabulary.names, read_tags())


def widened(old: Ram, old_names: tuple[str, ...], tags: list[TagLine]) -> Ram:
    """Return a model of `tags` with the old weights; a new tag's label embedding is random.

    The label embeddings are learned, whether or not they were before; no captions.
    """
    torch.manual_seed(0)
    config = replace(old.config, num_tags=len(tags), train_labels=True, captions=None)
    model = Ram(replace(config, open_set_threshold=OPEN_SET_THRESHOLD))
    state = old.state_dict()
    rows = model.label_embeddings.detach().clone()
    for row, tag in enumerate(tags):
        if tag.name in old_names:
            rows[row] = state["label_embeddings"][old_names.index(tag.name)]
        else:  # of the length of the learned ones
            rows[row] *= state["label_embeddings"].norm(dim=1).mean()
    kept = {name: value for name, value in state.items() if not name.startswith("caption_head.")}
    model.load_state_dict(kept | {"label_embeddings": rows})
    return model

"""The model that is trained: made from a name, a folder or nothing; exported as a model folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ram_model.checkpoint import build_model, write_folder
from ram_model.config import RamConfig, variant
from ram_model.errors import CheckpointError, LabelError, UnknownModelError, UnknownTagError
from ram_model.label_embeddings import embed_words, find_label_source
from ram_model.open_set import OPEN_SET_THRESHOLD, embed_new_words
from ram_model.pretrained import OpenedModel, open_model
from ram_model.ram import Ram
from ram_model.resolution import change_resolution, resized_encoder
from ram_model.vocabulary import Vocabulary
from ram_ray.errors import ConfigError
from ram_ray.labels.vocabulary_files import read_vocabulary
from ram_ray.training.config import TrainConfig
from ram_ray.training.objective import Objective

PREFIX = "model."
"""Of the model's weights within an `Objective`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Student:
    """A model at the start of its training."""

    model: Ram
    vocabulary: Vocabulary

    @property
    def config_json(self) -> str:
        """Return the model's configuration as text."""
        return self.model.config.to_json()

    def state(self) -> dict[str, Tensor]:
        """Return the weights under the names that an `Objective` has for them."""
        return {PREFIX + name: tensor for name, tensor in self.model.state_dict().items()}


def make_student(config: TrainConfig) -> Student:
    """Return the model that a run starts with.

    Raises:
        ConfigError: model, tags and vocabulary do not fit together.
    """
    try:
        if config.from_model is None:
            return _new_student(config)
        return _student_from(config, open_model(config.from_model))
    except (CheckpointError, LabelError, UnknownModelError, UnknownTagError, ValueError) as error:
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"The model cannot be made: {error}") from error


def build_objective(config: TrainConfig, model_config: str) -> Objective:
    """Return model and losses on a worker, with weights that a checkpoint replaces."""
    model = build_model(RamConfig.from_json(model_config))
    if config.caption_weight == 0 and model.caption_head is not None:
        model.caption_head.requires_grad_(False)
    if config.trains != "all":
        model.requires_grad_(False)
        model.label_embeddings.requires_grad_(True)
    return Objective(model, config)


def export_student(
    config: TrainConfig, model_config: str, vocabulary: Vocabulary, tensors: dict[str, Any],
    folder: Path,
) -> Path:  # fmt: skip
    """Write a model folder of a checkpoint's weights: the averaged ones where there are any."""
    state = tensors["model"] | (tensors["average"] or {})
    state = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
    shape = RamConfig.from_json(model_config)
    if config.trains == "decoder" and config.tag_mode == "add":
        opened = open_model(str(config.from_model))
        vocabulary = opened.vocabulary.extended(vocabulary.names, OPEN_SET_THRESHOLD)
        rows = state["label_embeddings"].unflatten(0, (shape.num_tags, -1))
        model = _sized(opened.model, config).append_tags(list(rows))
        state, shape = model.state_dict(), model.config
    return write_folder(state, shape, vocabulary, folder)


def _new_student(config: TrainConfig) -> Student:
    vocabulary = read_vocabulary(str(config.vocabulary))
    shape = variant(config.variant, kind=config.kind, num_tags=len(vocabulary))
    if config.image_size_px is not None:
        encoder = resized_encoder(shape.image_encoder, config.image_size_px)
        shape = replace(shape, image_encoder=encoder)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = build_model(shape)
        # scores start low, as tags are rare: otherwise the first steps only learn this
        start = 0.01
        if isinstance(bias := getattr(model.classifier, "bias", None), nn.Parameter):
            nn.init.constant_(bias, float(np.log(start / (1 - start))))
    if config.text_encoder is not None:
        with torch.no_grad():
            model.label_embeddings.copy_(_embed_vocabulary(config, shape, vocabulary))
    return Student(model=model, vocabulary=vocabulary)


def _embed_vocabulary(config: TrainConfig, shape: RamConfig, vocabulary: Vocabulary) -> Tensor:
    source = find_label_source(None, text_encoder=config.text_encoder)
    assert source is not None
    rows = list(embed_words(source, shape, list(dict.fromkeys(vocabulary.names))).values())
    by_name = dict(zip(dict.fromkeys(vocabulary.names), rows, strict=True))
    return torch.cat([by_name[name] for name in vocabulary.names])


def _student_from(config: TrainConfig, opened: OpenedModel) -> Student:
    model, vocabulary = _sized(opened.model, config), opened.vocabulary
    if config.tags is not None:
        model, vocabulary = _with_tags(config, opened, model)
    if config.vocabulary is not None and config.tags is None:
        given = read_vocabulary(config.vocabulary)
        if given.names != vocabulary.names:
            raise ConfigError(
                f"vocabulary is {config.vocabulary!r}, but does not list the tags of "
                f"{config.from_model}; name new tags with tags."
            )
    if config.trains == "labels":
        model.label_embeddings.requires_grad_(True)
    return Student(model=model, vocabulary=vocabulary)


def _sized(model: Ram, config: TrainConfig) -> Ram:
    return model if config.image_size_px is None else change_resolution(model, config.image_size_px)


def _with_tags(config: TrainConfig, opened: OpenedModel, model: Ram) -> tuple[Ram, Vocabulary]:
    """Return model and vocabulary of the run: all tags, the wanted ones alone, or the new alone."""
    wanted = config.tags or ()
    known, new = opened.vocabulary.split(wanted)
    if config.tag_mode == "replace":
        kept = known
    elif config.trains == "decoder":
        kept = []
    else:
        kept = list(range(len(opened.vocabulary)))
    if not new and not kept:
        raise ConfigError(f"tags are all known to {config.from_model} already; nothing is new.")
    names = [opened.vocabulary.names[i] for i in kept] + new
    rows = _rows_of(config, opened, new)
    model = model.select_tags(kept or [0])
    if rows:
        model = model.append_tags(rows)
    if not kept:
        model = model.select_tags(range(1, 1 + len(new)))
    whole = opened.vocabulary.extended(new, OPEN_SET_THRESHOLD) if new else opened.vocabulary
    ids = [*kept, *range(len(opened.vocabulary), len(whole))]
    vocabulary = Vocabulary(
        names=tuple(names),
        thresholds=whole.thresholds[ids],
        names_zh=tuple(whole.names_zh[i] for i in ids),
        kinds=tuple(whole.kinds[i] for i in ids),
        aliases=tuple(whole.aliases[i] for i in ids),
    )
    return model, vocabulary


def _rows_of(config: TrainConfig, opened: OpenedModel, new: list[str]) -> list[Tensor]:
    """Return the first label embeddings of new tags: by the text encoder, or random."""
    if not new:
        return []
    source = find_label_source(opened.folder, text_encoder=config.text_encoder)
    if source is not None and not opened.config.train_labels:
        labels = embed_new_words(opened, new, text_encoder=config.text_encoder)
        assert labels is not None
        return list(labels.labels.values())
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        # as long as the model's own: those of a model that learnt them are no unit vectors
        length = opened.model.label_embeddings.detach().norm(dim=1).mean()
        rows = F.normalize(torch.randn(len(new), opened.config.label_dim), dim=1) * length
    return [row.unsqueeze(0) for row in rows]

"""The model that is trained: made from a name, a folder or nothing; exported as a model folder."""

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ram_model.config import CaptionConfig, RamConfig, variant
from ram_model.errors import (
    CaptionError,
    CheckpointError,
    LabelError,
    UnknownModelError,
    UnknownTagError,
)
from ram_model.files.caption_files import WORD_PIECES
from ram_model.files.checkpoint import write_folder
from ram_model.files.pretrained import OpenedModel, open_model
from ram_model.files.resolution import change_resolution, resized_encoder
from ram_model.networks.filling import build_model
from ram_model.networks.ram import Ram
from ram_model.vocabulary import Vocabulary
from ram_model.words.label_embeddings import embed_words, find_label_source
from ram_model.words.open_set import embed_new_words
from ram_ray.errors import ConfigError
from ram_ray.labels.vocabulary_files import read_vocabulary
from ram_ray.training.config import TrainConfig
from ram_ray.training.contrastive import (
    ClipObjective,
    ClipStudent,
    build_clip_objective,
    make_clip_student,
)
from ram_ray.training.objective import Objective

OFFICIAL_WIDTH = 768
"""Of the tag decoder of every released model."""
NUM_MARKS = 2
"""[DEC] and [ENC], which follow the listed word pieces."""
PREFIX = "model."
"""Of the model's weights within an `Objective`."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Student:
    """A model at the start of its training."""

    model: Ram
    vocabulary: Vocabulary
    word_pieces: bytes | None = None
    """The list of word pieces of a caption side."""

    @property
    def config_json(self) -> str:
        """Return the model's configuration as text."""
        return self.model.config.to_json()

    def state(self) -> dict[str, Tensor]:
        """Return the weights under the names that an `Objective` has for them."""
        return {PREFIX + name: tensor for name, tensor in self.model.state_dict().items()}

    def export(self, config: TrainConfig, tensors: dict[str, Any], folder: Path) -> Path:
        """Write a model folder of a checkpoint's weights: the averaged ones where there are any."""
        state = tensors["model"] | (tensors["average"] or {})
        state = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
        shape, vocabulary = self.model.config, self.vocabulary
        if config.trains == "decoder" and config.tag_mode == "add":
            opened = open_model(str(config.from_model))
            vocabulary = opened.vocabulary.extended(
                vocabulary.names, opened.config.open_set_threshold
            )
            rows = state["label_embeddings"].unflatten(0, (shape.num_tags, -1))
            model = _sized(opened.model, config).append_tags(list(rows))
            state, shape = model.state_dict(), model.config
        if self.word_pieces is None:
            return write_folder(state, shape, vocabulary, folder)
        folder.mkdir(parents=True, exist_ok=True)
        pieces = folder / WORD_PIECES
        pieces.write_bytes(self.word_pieces)
        return write_folder(state, shape, vocabulary, folder, word_pieces=pieces)


def make_student(config: TrainConfig) -> Student | ClipStudent:
    """Return the model that a run starts with.

    Raises:
        ConfigError: model, tags and vocabulary do not fit together.
    """
    if config.kind == "clip":
        return make_clip_student(config)
    try:
        if config.from_model is None:
            return _new_student(config)
        wants_captions = config.caption_weight > 0
        return _student_from(config, open_model(config.from_model, captions=wants_captions))
    except (
        CaptionError, CheckpointError, LabelError, UnknownModelError, UnknownTagError, ValueError,
    ) as error:  # fmt: skip
        if isinstance(error, ConfigError):
            raise
        raise ConfigError(f"The model cannot be made: {error}") from error


def build_objective(config: TrainConfig, model_config: str) -> Objective | ClipObjective:
    """Return model and losses on a worker, with weights that a checkpoint replaces."""
    if config.kind == "clip":
        return build_clip_objective(config, model_config)
    model = build_model(RamConfig.from_json(model_config))
    if config.caption_weight == 0 and model.caption_head is not None:
        model.caption_head.requires_grad_(False)
    if config.trains != "all":
        model.requires_grad_(False)
        model.label_embeddings.requires_grad_(True)
    return Objective(model, config)


def _new_student(config: TrainConfig) -> Student:
    vocabulary = read_vocabulary(str(config.vocabulary))
    assert config.kind != "clip"
    shape = variant(config.variant, kind=config.kind, num_tags=len(vocabulary))
    if config.image_size_px is not None:
        encoder = resized_encoder(shape.image_encoder, config.image_size_px)
        shape = replace(shape, image_encoder=encoder)
    pieces = _word_pieces(config, None)
    if pieces is not None:
        shape = replace(
            shape, captions=_caption_shape(shape, pieces.removesuffix(b"\n").count(b"\n") + 1)
        )
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
    return Student(model=model, vocabulary=vocabulary, word_pieces=pieces)


def _word_pieces(config: TrainConfig, folder: Path | None) -> bytes | None:
    """Return the list of word pieces of a run with captions."""
    if config.caption_weight == 0:
        return None
    own = None if folder is None else folder / WORD_PIECES
    path = Path(config.word_pieces) if config.word_pieces is not None else own
    if path is None or not path.is_file():
        told = config.word_pieces or "not given"
        raise ConfigError(
            f"word_pieces is {told}, but must be a vocab.txt where captions are trained "
            "(`ram-ray model fetch tag2text` brings one)."
        )
    return path.read_bytes()


def _caption_shape(shape: RamConfig, num_pieces: int) -> CaptionConfig:
    """Return the caption side for a model: the official one for its width, else a small one."""
    decoder = shape.tag_decoder
    official = CaptionConfig()
    if decoder.hidden_dim == OFFICIAL_WIDTH:
        return replace(official, vocab_size=num_pieces + NUM_MARKS)
    return replace(
        official,
        num_heads=decoder.num_heads,
        num_layers=decoder.num_layers + 1,
        intermediate_dim=decoder.intermediate_dim,
        vocab_size=num_pieces + NUM_MARKS,
        num_positions=64,
    )


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
    pieces = _word_pieces(config, opened.folder)
    return Student(model=model, vocabulary=vocabulary, word_pieces=pieces)


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
    usual = opened.config.open_set_threshold
    whole = opened.vocabulary.extended(new, usual) if new else opened.vocabulary
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

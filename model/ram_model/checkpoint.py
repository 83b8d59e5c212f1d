"""Weights in and out: official `.pth` checkpoints, and this project's model folders.

A model folder holds config.json, model.safetensors, vocabulary.parquet and checksums.json
(sha256 of each of the others), and may hold MODEL_CARD.md and a caption side
(`ram_model.caption_files`).
"""

import hashlib
import json
import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ram_model.caption_files import CAPTION_PREFIX, read_caption_files, write_caption_files
from ram_model.config import (
    CaptionConfig,
    Kind,
    RamConfig,
    SwinConfig,
    TagDecoderConfig,
    swin_b,
    swin_l,
    variant,
)
from ram_model.errors import CaptionError, CheckpointError
from ram_model.official_layout import to_our_layout
from ram_model.ram import Ram
from ram_model.ram_plus import RamPlus
from ram_model.tag2text import Tag2Text
from ram_model.tensors_only import load_tensors_only
from ram_model.vocabulary import Vocabulary
from ram_model.weight_files import write_weights
from ram_model.wordpiece import WordPieceTokenizer

CONFIG, WEIGHTS, VOCABULARY = "config.json", "model.safetensors", "vocabulary.parquet"
CHECKSUMS = "checksums.json"


class ModelFolder(NamedTuple):
    """What a model folder holds, read and checked."""

    model: Ram
    config: RamConfig
    vocabulary: Vocabulary
    weights_sha256: str
    tokenizer: WordPieceTokenizer | None = None
    """Of captions; None where they were not asked for."""
    captions_sha256: str | None = None
    """Of the caption side's files."""


def load_official(
    source: str | Path | Mapping[str, Tensor], *, captions: CaptionConfig | None = None
) -> tuple[Ram, RamConfig]:
    """Return the model in an official RAM, RAM++ or Tag2Text checkpoint, and its configuration.

    Args:
        source: a `.pth` file ({"model": state dict, ...}), memory-mapped, or a state dict.
        captions: with the caption side, of this configuration (`CaptionConfig()` is that of every
            released file); None: what only captions need is left behind, unread.

    Returns:
        The model in evaluation mode, float32. Kind, backbone, window, tags and descriptions are
        read from the keys and shapes, never from the file name; the image size follows from the
        window (12: 384 px, 7: 224 px).

    Raises:
        CheckpointError: not such a file, or any key too many, missing, or of the wrong shape.
    """
    state = read_official(source) if isinstance(source, str | Path) else source
    config, ours = from_official(state, captions=captions)
    return fill_model(config, ours), config


def from_official(
    state: Mapping[str, Tensor], *, captions: CaptionConfig | None = None
) -> tuple[RamConfig, dict[str, Tensor]]:
    """Return the configuration and the weights, under our names, of an official state dict.

    Args:
        captions: as in `load_official`.

    Raises:
        CheckpointError: any key too many, missing, or of the wrong shape.
    """
    config = _detect_config(state)
    if captions is not None:
        try:
            config = replace(config, captions=captions)
        except ValueError as error:
            raise CheckpointError(f"Not a checkpoint with such a caption side: {error}") from error
    ours = to_our_layout(state, captions=captions is not None)
    check_state(config, ours)
    return config, ours


def save_folder(
    model: Ram,
    config: RamConfig,
    vocabulary: Vocabulary,
    folder: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    word_pieces: str | Path | None = None,
) -> Path:
    """Write a model folder and return its path; existing files of those names are replaced.

    Args:
        dtype: of the weights on disk; float16 halves them, and `load_folder` widens them again.
        word_pieces: the vocab.txt of a model with a caption side, which needs one.

    Raises:
        CheckpointError: model, configuration and vocabulary do not agree.
        CaptionError: a model with a caption side, but no word pieces that fit it.
    """
    if model.config != config:
        raise CheckpointError("The configuration is not the model's own.")
    state = model.state_dict()
    return write_folder(state, config, vocabulary, folder, dtype=dtype, word_pieces=word_pieces)


def write_folder(
    state: Mapping[str, Tensor],
    config: RamConfig,
    vocabulary: Vocabulary,
    folder: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    word_pieces: str | Path | None = None,
    parts: Iterable[str] = (),
) -> Path:
    """Write a model folder of weights under our names, as `save_folder`.

    Tensors that are memory-mapped and have the wanted type are never copied into memory.

    Args:
        parts: names of further files, in the folder already, that its checksums shall cover.

    Raises:
        CheckpointError: vocabulary and configuration do not agree.
        CaptionError: a model with a caption side, but no word pieces that fit it.
        OSError: the folder cannot be written.
    """
    check_tags_fit(config, vocabulary)
    if config.captions is not None and word_pieces is None:
        raise CaptionError("This model writes captions: name its list of word_pieces.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CHECKSUMS).unlink(missing_ok=True)  # written last: without it there is no model
    (folder / CONFIG).write_text(config.to_json(), encoding="utf-8")
    captions = {}
    if word_pieces is not None:
        captions = {name: t for name, t in state.items() if name.startswith(CAPTION_PREFIX)}
    tagging = {name: tensor for name, tensor in state.items() if name not in captions}
    write_weights(tagging, folder / WEIGHTS, dtype=dtype)
    vocabulary.to_parquet(folder / VOCABULARY)
    names = [CONFIG, WEIGHTS, VOCABULARY, *parts]
    if word_pieces is not None:
        names += write_caption_files(folder, captions, word_pieces, dtype=dtype)
    write_checksums(folder, names)
    return folder


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Record the sha256 of these files of a model folder, beside those recorded before."""
    path = folder / CHECKSUMS
    sums = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    sums |= {name: file_sha256(folder / name) for name in names}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def load_folder(folder: str | Path, *, captions: bool = False) -> ModelFolder:
    """Return the model (evaluation mode, float32), configuration and vocabulary of a folder.

    Args:
        captions: with the caption side; False leaves its files unread.

    Raises:
        CheckpointError: a file is missing or not what checksums.json says, or they do not agree.
        CaptionError: captions of a model that has no caption side.
    """
    folder = Path(folder)
    sums = _verify_checksums(folder)
    try:
        config = RamConfig.from_json((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from error
    try:
        state = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise CheckpointError(f"{folder / WEIGHTS} is not a safetensors file: {error}.") from error
    vocabulary = Vocabulary.from_parquet(folder / VOCABULARY)
    check_tags_fit(config, vocabulary)
    side = read_caption_files(folder, config, sums) if captions else None
    if side is None:
        config = replace(config, captions=None)
        return ModelFolder(fill_model(config, state), config, vocabulary, sums[WEIGHTS])
    model = fill_model(config, state | side.state)
    return ModelFolder(model, config, vocabulary, sums[WEIGHTS], side.tokenizer, side.sha256)


_CLASSES: dict[Kind, type[Ram]] = {each.kind: each for each in (Ram, RamPlus, Tag2Text)}


def build_on_meta(config: RamConfig) -> Ram:
    """Return the model of `config` without memory for its weights (names and shapes only)."""
    with torch.device("meta"):
        return build_model(config)


def build_model(config: RamConfig) -> Ram:
    """Return a model of `config` with random weights, in training mode."""
    return _CLASSES[config.kind](config)


def fill_model(config: RamConfig, state: Mapping[str, Tensor]) -> Ram:
    """Return a model with exactly these weights, float32, in evaluation mode.

    Raises:
        CheckpointError: naming every key that is missing, unexpected, or of another shape.
    """
    check_state(config, state)
    model = build_on_meta(config)
    # Copied out of the file's memory map: there tensors lie unaligned, and the last bit of a
    # product depends on alignment; two files with the same weights must give the same scores.
    copies = {name: tensor.to(torch.float32, copy=True) for name, tensor in state.items()}
    model.load_state_dict(copies, assign=True)
    model.label_embeddings.requires_grad_(config.train_labels)
    model.image_encoder.rebuild_buffers()
    return model.eval()


def check_state(config: RamConfig, state: Mapping[str, Tensor]) -> None:
    """Check that `state` holds exactly the weights of a model of `config`.

    Raises:
        CheckpointError: naming every key that is missing, unexpected, or of another shape.
    """
    expected = build_on_meta(config).state_dict()
    problems = [f"missing {name!r}" for name in expected if name not in state]
    problems += [f"unexpected {name!r}" for name in state if name not in expected]
    problems += [
        f"{name!r} has shape {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        raise CheckpointError(f"The weights do not fit the model: {'; '.join(problems)}.")


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read_official(path: str | Path, *, tensors_only: bool = False) -> dict[str, Tensor]:
    """Return the state dict in an official `.pth` file, memory-mapped; nothing in it is run.

    Args:
        tensors_only: read a file that holds other objects too; they are skipped, not run.

    Raises:
        CheckpointError: the file is damaged, no checkpoint, or holds more than tensors.
    """
    if Path(path).is_file() and not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is cut off, or no checkpoint at all: PyTorch writes zip files since 1.6."
        )
    try:
        if tensors_only:
            content = load_tensors_only(path)
        else:
            with warnings.catch_warnings(action="ignore"):  # of programs, refused right after
                content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL (\S+)", str(error))
        what = f" ({found.group(1)})" if found else ""
        raise CheckpointError(
            f"{path} holds more than tensors{what}, and is refused because reading it could run "
            f"code: --tensors-only reads the tensors and skips the rest."
        ) from error
    except (OSError, RuntimeError, EOFError) as error:
        reason = str(error).partition("\n")[0]
        raise CheckpointError(f"{path} cannot be read as a checkpoint: {reason}") from error
    state = content.get("model", content) if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise CheckpointError(f"{path} is not a state dict, nor a dict with one under 'model'.")
    return state


def _detect_config(state: Mapping[str, Tensor]) -> RamConfig:
    if "label_embed.weight" in state:
        return _detect_tag2text(state)
    kind = "ram_plus" if "reweight_scale" in state else "ram"
    rows, label_dim = _shape(state, "label_embed", 2)
    descriptions = variant("swin_l_384", kind=kind).descriptions_per_tag
    if rows % descriptions:
        raise CheckpointError(f"'label_embed' has {rows} rows, not {descriptions} per tag.")
    return RamConfig(
        kind=kind,
        image_encoder=_detect_encoder(state),
        tag_decoder=_detect_decoder(state),
        num_tags=rows // descriptions,
        label_dim=label_dim,
        descriptions_per_tag=descriptions,
    )


def _detect_tag2text(state: Mapping[str, Tensor]) -> RamConfig:
    num_tags, label_dim = _shape(state, "label_embed.weight", 2)
    decoder = _detect_decoder(state)
    if decoder.hidden_dim != label_dim:
        raise CheckpointError(
            f"'label_embed.weight' has rows of {label_dim} numbers, the tag decoder a width of "
            f"{decoder.hidden_dim}."
        )
    return RamConfig(
        kind="tag2text",
        image_encoder=_detect_encoder(state),
        tag_decoder=decoder,
        num_tags=num_tags,
        label_dim=label_dim,
        train_labels=True,
    )


def _detect_encoder(state: Mapping[str, Tensor]) -> SwinConfig:
    block = "visual_encoder.layers.{}.blocks.{}.attn.relative_position_bias_table"
    embed_dim = _shape(state, "visual_encoder.patch_embed.proj.weight", 4)[0]
    tables = [_shape(state, block.format(stage, 0), 2) for stage in range(4)]
    window = (math.isqrt(tables[0][0]) + 1) // 2
    for known in (swin_l, swin_b):
        if known(384, 12).embed_dim == embed_dim and window in (7, 12):
            return known(window * 32, window)
    depths = [sum(block.format(s, i) in state for i in range(64)) for s in range(4)]
    return SwinConfig(
        image_size_px=window * 32,
        window_size=window,
        embed_dim=embed_dim,
        depths=(depths[0], depths[1], depths[2], depths[3]),
        num_heads=(tables[0][1], tables[1][1], tables[2][1], tables[3][1]),
    )


def _detect_decoder(state: Mapping[str, Tensor]) -> TagDecoderConfig:
    head = "vision_multi" if any(k.startswith("vision_multi.") for k in state) else "tagging_head"
    layer = head + ".encoder.layer.{}.intermediate.dense.weight"
    intermediate, hidden = _shape(state, layer.format(0), 2)
    num_layers = sum(layer.format(i) in state for i in range(64))
    # the number of heads leaves no trace in the shapes: 4 in every official model
    return TagDecoderConfig(
        hidden_dim=hidden, num_heads=4, num_layers=num_layers, intermediate_dim=intermediate
    )


def _shape(state: Mapping[str, Tensor], name: str, ndim: int) -> tuple[int, ...]:
    if name not in state:
        raise CheckpointError(f"This is no checkpoint of the RAM family: missing {name!r}.")
    if state[name].ndim != ndim:
        raise CheckpointError(f"{name!r} has {state[name].ndim} dimensions instead of {ndim}.")
    return tuple(state[name].shape)


def check_tags_fit(config: RamConfig, vocabulary: Vocabulary) -> None:
    """Check that a vocabulary has as many tags as a model.

    Raises:
        CheckpointError: it has more or fewer.
    """
    if len(vocabulary) != config.num_tags:
        raise CheckpointError(
            f"The vocabulary holds {len(vocabulary)} tags, the model {config.num_tags}."
        )


def _verify_checksums(folder: Path) -> dict[str, str]:
    for name in (CONFIG, WEIGHTS, VOCABULARY, CHECKSUMS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not a model folder: {name} is missing.")
    try:
        sums = dict(json.loads((folder / CHECKSUMS).read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / CHECKSUMS} is damaged: {error}.") from error
    for name in (CONFIG, WEIGHTS, VOCABULARY):
        if sums.get(name) != file_sha256(folder / name):
            raise CheckpointError(f"{folder / name} is not the file that {CHECKSUMS} describes.")
    return sums

"""Official checkpoints: read without running anything in them, told apart by their keys."""

import math
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ram_model.config import (
    CaptionConfig,
    RamConfig,
    SwinConfig,
    TagDecoderConfig,
    swin_b,
    swin_l,
    variant,
)
from ram_model.errors import CheckpointError
from ram_model.files.official_layout import to_our_layout
from ram_model.files.wrapped_state import unwrap_state
from ram_model.networks.filling import check_state, fill_model
from ram_model.networks.ram import Ram
from ram_model.tensors_only import load_tensors_only


def load_official(
    source: str | Path | Mapping[str, Tensor], *, captions: CaptionConfig | None = None
) -> tuple[Ram, RamConfig]:
    """Return the model in an official RAM, RAM++ or Tag2Text checkpoint, and its configuration.

    Args:
        source: a file as of `read_official`, or a state dict.
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


def read_official(
    path: str | Path, *, weights: str | None = None, tensors_only: bool = False
) -> dict[str, Tensor]:
    """Return the state dict in a checkpoint of official layout, memory-mapped; nothing is run.

    Args:
        path: a `.pth` file, as trainers wrap it (`wrapped_state`), or safetensors.
        weights: which of several state dicts; None: the first of `wrapped_state.STATE_KEYS`.
        tensors_only: read a file that holds other objects too; they are skipped, not run.

    Raises:
        CheckpointError: the file is damaged, no checkpoint, or holds more than tensors.
    """
    if is_safetensors(path):
        return unwrap_state(_read_safetensors(path), path, weights)
    return unwrap_state(_read_pickle(path, tensors_only), path, weights)


def is_safetensors(path: str | Path) -> bool:
    """Tell by the first bytes: the length of a header, and the JSON object that it is."""
    try:
        with open(path, "rb") as file:
            return file.read(9)[8:] == b"{"
    except OSError:
        return False


def _read_safetensors(path: str | Path) -> dict[str, Tensor]:
    try:
        return load_file(path)
    except (SafetensorError, OSError) as error:
        raise CheckpointError(f"{path} cannot be read as safetensors: {error}") from error


def _read_pickle(path: str | Path, tensors_only: bool) -> object:
    if Path(path).is_file() and not zipfile.is_zipfile(path):
        raise CheckpointError(
            f"{path} is cut off, or no checkpoint at all: PyTorch writes zip files since 1.6, "
            "and safetensors begin with a header."
        )
    try:
        if tensors_only:
            return load_tensors_only(path)
        with warnings.catch_warnings(action="ignore"):  # of programs, refused right after
            return torch.load(path, map_location="cpu", mmap=True, weights_only=True)
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

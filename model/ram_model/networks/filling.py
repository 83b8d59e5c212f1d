"""From configuration and weights to a model: exactly those weights, or an error naming them."""

from collections.abc import Mapping

import torch
from torch import Tensor

from ram_model.config import Kind, RamConfig
from ram_model.errors import CheckpointError
from ram_model.networks.ram import Ram
from ram_model.networks.ram_plus import RamPlus
from ram_model.networks.tag2text import Tag2Text

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

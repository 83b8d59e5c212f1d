"""From configuration and weights to a model: exactly those weights, or an error naming them."""

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode

from ram_model.config import Kind, RamConfig
from ram_model.errors import CheckpointError
from ram_model.networks.ram import Ram
from ram_model.networks.ram_plus import RamPlus
from ram_model.networks.tag2text import Tag2Text

_CLASSES: dict[Kind, type[Ram]] = {each.kind: each for each in (Ram, RamPlus, Tag2Text)}


def build_on_meta(config: RamConfig) -> Ram:
    """Return the model of `config` without memory for its weights (names and shapes only)."""
    with torch.device("meta"), _WithoutValues():
        return build_model(config)


class _WithoutValues(TorchFunctionMode):
    """Leaves tensors unfilled: on meta they hold nothing, and torch loads its compiler to fill it.

    That import takes longer than tagging a photo.
    """

    def __torch_function__(
        self,
        func: Any,
        types: Any,
        args: tuple[Any, ...] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if getattr(func, "__name__", "") in _FILLS:
            return args[0] if args else (kwargs or {})["tensor"]
        return func(*args, **(kwargs or {}))


_FILLS = frozenset(
    f"{name}_"
    for name in ("normal", "uniform", "trunc_normal", "kaiming_uniform", "erfinv", "fill")
)
"""Functions of `torch.nn.init` and methods of tensors that write into their first argument."""


def build_model(config: RamConfig) -> Ram:
    """Return a model of `config` with random weights, in training mode."""
    return _CLASSES[config.kind](config)


def fill_model(config: RamConfig, state: Mapping[str, Tensor]) -> Ram:
    """Return a model with exactly these weights, float32, in evaluation mode.

    Raises:
        CheckpointError: naming every key that is missing, unexpected, or of another shape.
    """
    model = build_on_meta(config)
    _check_state(model.state_dict(), state)
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
    _check_state(build_on_meta(config).state_dict(), state)


def _check_state(expected: Mapping[str, Tensor], state: Mapping[str, Tensor]) -> None:
    problems = [f"missing {name!r}" for name in expected if name not in state]
    problems += [f"unexpected {name!r}" for name in state if name not in expected]
    problems += [
        f"{name!r} has shape {tuple(state[name].shape)} instead of {tuple(tensor.shape)}"
        for name, tensor in expected.items()
        if name in state and state[name].shape != tensor.shape
    ]
    if problems:
        raise CheckpointError(f"The weights do not fit the model: {'; '.join(problems)}.")

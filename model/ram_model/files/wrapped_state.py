"""The state dict inside a training checkpoint: under which key it lies, and what trainers add.

Source of the names: DistributedDataParallel (`module.`), torch.compile (`_orig_mod.`), FSDP and
activation checkpointing, `torch.optim.swa_utils.AveragedModel` (`n_averaged`), Lightning (`model.`,
`state_dict`), timm (`state_dict`, `state_dict_ema`) and DeiT's trainers (`model_ema`).
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch import Tensor

from ram_model.errors import CheckpointError
from ram_model.files.official_layout import kept_name, rename_old

STATE_KEYS = ("model", "state_dict", "model_state_dict", "module", "net", "weights", "params",
              "model_ema", "state_dict_ema", "ema_state_dict", "ema")  # fmt: skip
"""Where weights lie, the trained ones before their averages."""
MAX_DEPTH = 8
_WRAPPERS = {"module", "_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module"}
_NOT_WEIGHTS = {"n_averaged"}


def unwrap_state(content: object, path: object, weights: str | None = None) -> dict[str, Tensor]:
    """Return the state dict in a checkpoint, under current official names.

    Args:
        content: what the file holds.
        path: named in errors.
        weights: key, or keys joined by dots, of one of several state dicts; None: the first of
            `STATE_KEYS`.

    Raises:
        CheckpointError: there is none, none under `weights`, or a tensor under two names.
    """
    found = dict(_states(content, "", 0))
    if weights is None:
        state = next(iter(found.values()), None)
        if state is None:
            known = ", ".join(STATE_KEYS[:3])
            raise CheckpointError(f"{path} is not a state dict, nor a dict with one under {known}.")
        return _plain(state)
    for where, state in found.items():
        if weights in (where, where.partition(".")[0]):
            return _plain(state)
    there = ", ".join(filter(None, found)) or "no such key"
    raise CheckpointError(f"weights is {weights!r}, but {path} has its weights under {there}.")


def _states(content: object, where: str, depth: int) -> Iterator[tuple[str, Mapping[str, Tensor]]]:
    """Yield the state dicts with the keys that lead to them, preferred ones first."""
    if not isinstance(content, Mapping) or not content or depth > MAX_DEPTH:
        return
    if all(isinstance(value, Tensor) for value in content.values()):
        yield where, content
        return
    for key in STATE_KEYS:
        if key in content:
            yield from _states(content[key], f"{where}.{key}" if where else key, depth + 1)


def _plain(state: Mapping[str, Any]) -> dict[str, Tensor]:
    """Drop what wrappers put into names; name a tied tensor as we keep it."""
    lightning = all(name.startswith("model.") for name in state if name not in _NOT_WEIGHTS)
    plain: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if name in _NOT_WEIGHTS:
            continue
        parts = [part for part in name.split(".") if part not in _WRAPPERS]
        short = ".".join(parts[1:] if parts[0] == "model" and lightning else parts)
        if short in plain:
            raise CheckpointError(f"The checkpoint holds {short!r} under two names.")
        plain[short] = tensor
    for name in list(plain):  # safetensors keeps a tied tensor once, under either name
        current = rename_old(name)
        old_head = any(one.startswith("vision_multi.") for one in plain)
        if not old_head:
            plain.setdefault(kept_name(current), plain[name])
    return plain

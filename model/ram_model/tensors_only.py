"""Read the tensors of a PyTorch file that also holds other objects, without running any of it.

Released checkpoints carry their training configuration as objects of a YAML library, which
PyTorch's safe loader refuses together with everything else. Here such objects become inert
placeholders: a file can name any function or class, but only the few that build tensors are found.
"""

import collections
import pickle
import types
from pathlib import Path
from typing import Any

import torch
from torch._utils import _rebuild_parameter, _rebuild_tensor_v2

# Everything a state dict needs. None of them can reach code outside itself.
_ALLOWED: dict[tuple[str, str], object] = {
    ("collections", "OrderedDict"): collections.OrderedDict,
    ("torch._utils", "_rebuild_tensor_v2"): _rebuild_tensor_v2,
    ("torch._utils", "_rebuild_parameter"): _rebuild_parameter,
    ("torch", "Size"): torch.Size,
} | {
    ("torch", f"{kind}Storage"): getattr(torch, f"{kind}Storage")
    for kind in "Float Double Half BFloat16 Long Int Short Char Byte Bool".split()
}


class Skipped:
    """Stands for an object that was not read; takes any construction and does nothing."""

    def __new__(cls, *_: object, **__: object) -> "Skipped":
        """Return a placeholder, whatever the arguments."""
        return super().__new__(cls)

    def __init__(self, *_: object, **__: object) -> None:
        """Take any arguments."""

    def __call__(self, *_: object, **__: object) -> "Skipped":
        """Return another placeholder."""
        return Skipped()

    def __setstate__(self, _: object) -> None:
        """Drop the state."""

    def __setitem__(self, _: object, __: object) -> None:
        """Drop the item."""

    def append(self, _: object) -> None:
        """Drop the element."""

    def extend(self, _: object) -> None:
        """Drop the elements."""

    def add(self, _: object) -> None:
        """Drop the element."""


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        return _ALLOWED.get((module, name), Skipped)


def load_tensors_only(path: str | Path) -> Any:
    """Return the content of a `.pth` file, memory-mapped; what is no tensor is a `Skipped`.

    Raises:
        pickle.UnpicklingError, RuntimeError, OSError, EOFError: the file cannot be read so.
    """
    module = types.ModuleType("tensors_only_pickle")
    module.Unpickler = _Unpickler  # pyright: ignore[reportAttributeAccessIssue]
    module.load = _refuse_old_format  # pyright: ignore[reportAttributeAccessIssue]
    # weights_only=False hands the choice of classes to the unpickler above, which allows fewer
    # than PyTorch's own safe one.
    return torch.load(path, "cpu", pickle_module=module, mmap=True, weights_only=False)


def _refuse_old_format(*_: object, **__: object) -> None:
    raise pickle.UnpicklingError("its format is older than PyTorch 1.6")

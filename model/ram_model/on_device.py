"""A model made ready on a device: pixels in, image tokens and logits out."""

from typing import Literal, get_args

import numpy as np
import torch
from torch import Tensor

from ram_model.folding import FoldedRam
from ram_model.networks.normalisation import Normalisation
from ram_model.networks.ram import Ram
from ram_model.transforms import IMAGENET_MEAN, IMAGENET_STD

Precision = Literal["fp32", "bf16"]


class Network:
    """A folded model (`ram_model.folding`) with the preprocessing that happens on its device."""

    def __init__(
        self, model: Ram, device: torch.device, precision: Precision, *, compile: bool
    ) -> None:
        """Take over the model: it is moved to the device and cast, in place, and then folded."""
        self.config = model.config
        self._device = device
        self._dtype = torch.bfloat16 if precision == "bf16" else torch.float32
        # what does not change per image is computed once, in full precision, and cast after
        folded = FoldedRam(model.eval().to(device))
        model.to(self._dtype)
        self._folded = folded.to(self._dtype)
        self._forward = torch.compile(self._folded, dynamic=False) if compile else self._folded
        encode = self._folded.encode_images  # where the image tokens are needed as well
        self._encode = torch.compile(encode, dynamic=False) if compile else encode
        self._normalisation = Normalisation(IMAGENET_MEAN, IMAGENET_STD).to(device)

    def normalise(self, images: np.ndarray) -> Tensor:
        """Return uint8 pixels [n, S, S, 3] as the network's input [n, 3, S, S], on the device."""
        pixels_BSSC = torch.from_numpy(np.ascontiguousarray(images)).to(self._device)
        return self._normalisation(pixels_BSSC).to(self._dtype)

    def logits(self, images: np.ndarray) -> Tensor:
        """Return the logits [n, C] of pixels [n, S, S, 3]."""
        return self._forward(self.normalise(images))

    def encode(self, images: np.ndarray) -> Tensor:
        """Return the image tokens [n, T, E] of pixels [n, S, S, 3], the mean token first."""
        return self._encode(self.normalise(images))

    def decode_tags(self, tokens_BTE: Tensor) -> Tensor:
        """Return the logits [n, C] of image tokens."""
        return self._folded.decode_tags(tokens_BTE)


def check_place(device: str, precision: str) -> None:
    """Check where and in which number format a network shall run.

    Raises:
        ValueError: no such device on this machine, or no such format.
    """
    if device != "cpu" and not device.startswith("cuda"):
        raise ValueError(f"device is {device!r}, but must be cpu, cuda or cuda:N.")
    if device.startswith("cuda"):
        index = device.removeprefix("cuda").removeprefix(":") or "0"
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if not index.isdigit() or int(index) >= count:
            raise ValueError(f"device is {device!r}, but this machine has {count} usable GPUs.")
    if precision not in get_args(Precision):
        raise ValueError(f"precision is {precision!r}, but must be fp32 or bf16.")

"""Pixels to what the image encoder reads, on the device that holds the model."""

import torch
from torch import Tensor, nn


class Normalisation(nn.Module):
    """uint8 pixels to float32 with the statistics of a data set taken out."""

    mean: Tensor
    std: Tensor

    def __init__(self, mean: tuple[float, float, float], std: tuple[float, float, float]) -> None:
        """Store mean and standard deviation over pixels in 0..1, R, G, B.

        The reference infers with the ImageNet statistics and trains with CLIP's
        (`ram_model.transforms`).
        """
        super().__init__()
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, pixels_BSS3: Tensor) -> Tensor:
        """Return float32 [B, 3, S, S] from uint8 [B, S, S, 3], RGB."""
        # divide, subtract, divide, in float32: the order of the reference, for equal bits
        values_B3SS = pixels_BSS3.permute(0, 3, 1, 2).float().div(255)
        return (values_B3SS - self.mean) / self.std

"""Stochastic depth (Huang et al., 2016): in training, a block is left out for some images."""

from torch import Tensor, nn


class DropPath(nn.Module):
    """Sets whole images of a batch to zero, and scales the others so that the mean stays."""

    def __init__(self, rate: float) -> None:
        """`rate`: share of images, 0 to below 1."""
        super().__init__()
        self.rate = rate

    def forward(self, images: Tensor) -> Tensor:
        """Return float [B, ...] as given; outside training unchanged."""
        if not self.training or self.rate == 0:
            return images
        keep = 1 - self.rate
        shape = (len(images), *(1 for _ in images.shape[1:]))
        return images * images.new_empty(shape).bernoulli_(keep).div_(keep)


def rising_rates(last: float, count: int) -> list[float]:
    """Return the rates of `count` blocks: from 0 up to `last` in equal steps."""
    return [last * number / max(1, count - 1) for number in range(count)]

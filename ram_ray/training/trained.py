"""What a learner trains, and which of the workers it is."""

from abc import ABC, abstractmethod
from dataclasses import dataclass

from torch import Tensor, nn


class Trained(nn.Module):
    """A model with its losses: forward(batch) gives the sum of each over the batch's samples."""

    weights: dict[str, float]
    """Of the losses in use, by name."""


class Coupled(Trained, ABC):
    """A loss that couples all samples of a step: see `ram_ray.training.contrastive`."""

    @abstractmethod
    def couple(self, features: Tensor, present: Tensor) -> tuple[float, Tensor, float]:
        """Return the loss of a step's features [G, F], and its gradients by them and the scale."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Worker:
    """Which of the training processes this is."""

    rank: int = 0
    world: int = 1
    device: str = "cpu"
    attempt: int = 1
    """How often the group of workers has started, from 1."""

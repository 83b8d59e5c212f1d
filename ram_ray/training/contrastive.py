"""A CLIP on image-text pairs: the same feed, steps and checkpoints as for the family.

The contrastive loss couples all pairs of a step. So a step first takes the features of every
pair without gradients, from all workers; the loss and its gradient by the features are computed on
those, and then each forward pass is done again, with that gradient as its signal (arXiv
2101.06983). The result is that of one worker with the whole step in one pass.
"""

import json
import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ram_model.errors import CheckpointError
from ram_model.networks.normalisation import Normalisation
from ram_model.transforms import CLIP_MEAN, CLIP_STD
from ram_model.words.clip import build_clip, clip_config, load_clip, save_clip
from ram_ray.errors import ConfigError
from ram_ray.training.config import TrainConfig
from ram_ray.training.data.pairs import Pairs
from ram_ray.training.trained import Coupled

PREFIX = "clip."
_MAX_SCALE = math.log(100)  # of the temperature (arXiv 2103.00020)


class ClipObjective(Coupled):
    """open_clip's CLIP with its loss."""

    def __init__(self, clip: Any) -> None:
        super().__init__()
        self.clip = clip
        self.normalisation = Normalisation(CLIP_MEAN, CLIP_STD)
        self.weights = {"contrastive": 1.0}

    def forward(self, batch: Pairs) -> dict[str, Tensor]:
        """Return features [B, 2 E], image then text, unit halves; or the signal's surrogate."""
        images = self.clip.encode_image(self.normalisation(batch.pixels), normalize=True)
        texts = self.clip.encode_text(batch.pieces, normalize=True)
        features = torch.cat([images, texts], 1).float()
        if batch.signal is None:
            return {"features": features}
        surrogate = (features * batch.signal).sum()
        return {"contrastive": surrogate + self.clip.logit_scale * batch.scale_signal}

    def couple(self, features: Tensor, present: Tensor) -> tuple[float, Tensor, float]:
        """Return the loss of a whole step, and its gradients by features and log scale."""
        from open_clip import ClipLoss

        scale = self.clip.logit_scale
        full = getattr(scale, "full_tensor", None)  # sharded by FSDP
        scale = (scale if full is None else full()).detach().clone().requires_grad_()
        features = features.detach().requires_grad_()
        pairs = features[present > 0]
        if len(pairs) == 0:
            return 0.0, torch.zeros_like(features), 0.0
        images, texts = pairs.chunk(2, 1)
        loss = ClipLoss()(images, texts, scale.clamp(max=_MAX_SCALE).exp())
        loss.backward()
        assert features.grad is not None
        assert scale.grad is not None
        return loss.item(), features.grad, scale.grad.item()


@dataclass(frozen=True, kw_only=True, slots=True)
class ClipStudent:
    """A CLIP at the start of its training."""

    clip: Any
    config: dict[str, Any]
    vocabulary: None = None
    word_pieces: None = None

    @property
    def config_json(self) -> str:
        """Return open_clip's configuration as text."""
        return json.dumps(self.config, sort_keys=True)

    def state(self) -> dict[str, Tensor]:
        """Return the weights under the names that a `ClipObjective` has for them."""
        return {PREFIX + name: tensor for name, tensor in self.clip.state_dict().items()}

    def export(self, config: TrainConfig, tensors: dict[str, Any], folder: Path) -> Path:
        """Write open_clip's files of a checkpoint's weights."""
        state = tensors["model"] | (tensors["average"] or {})
        state = {name.removeprefix(PREFIX): tensor for name, tensor in state.items()}
        return save_clip(state, self.config, folder)


def make_clip_student(config: TrainConfig) -> ClipStudent:
    """Return the CLIP that a run starts with.

    Raises:
        ConfigError: there is no such model, or its images have another size.
    """
    try:
        if config.from_model is not None:
            clip, shape = load_clip(config.from_model)
        else:
            shape = clip_config(config.variant)
            with torch.random.fork_rng(devices=[]):
                torch.manual_seed(config.seed)
                clip = build_clip(shape)
    except (CheckpointError, ValueError) as error:
        raise ConfigError(f"The model cannot be made: {error}") from error
    size = shape["vision_cfg"]["image_size"]
    if config.image_size_px not in (None, size):
        raise ConfigError(f"image_size_px is {config.image_size_px}, but must be {size} here.")
    return ClipStudent(clip=clip, config=shape)


def build_clip_objective(config: TrainConfig, model_config: str) -> ClipObjective:
    """Return model and loss on a worker, with weights that a checkpoint replaces."""
    return ClipObjective(build_clip(json.loads(model_config)))

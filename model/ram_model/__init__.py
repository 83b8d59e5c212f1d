"""The Recognize Anything Model family in PyTorch; knows nothing of Ray.

Names load on first use (PEP 562): `import ram_model.transforms` in a decoder process must not
pay for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ram_model.checkpoint import load_folder, load_official, save_folder
    from ram_model.config import RamConfig, SwinConfig, TagDecoderConfig, variant
    from ram_model.errors import (
        CheckpointError,
        ModelOutputError,
        UnknownModelError,
        UnknownTagError,
    )
    from ram_model.losses import asymmetric_loss
    from ram_model.pretrained import open_model
    from ram_model.ram import Ram
    from ram_model.ram_plus import RamPlus
    from ram_model.tagger import Tagger, Tags
    from ram_model.vocabulary import Vocabulary

_HOME = {
    "CheckpointError": "ram_model.errors",
    "ModelOutputError": "ram_model.errors",
    "Ram": "ram_model.ram",
    "RamConfig": "ram_model.config",
    "RamPlus": "ram_model.ram_plus",
    "SwinConfig": "ram_model.config",
    "TagDecoderConfig": "ram_model.config",
    "Tagger": "ram_model.tagger",
    "Tags": "ram_model.tagger",
    "UnknownModelError": "ram_model.errors",
    "UnknownTagError": "ram_model.errors",
    "Vocabulary": "ram_model.vocabulary",
    "asymmetric_loss": "ram_model.losses",
    "load_folder": "ram_model.checkpoint",
    "load_official": "ram_model.checkpoint",
    "open_model": "ram_model.pretrained",
    "save_folder": "ram_model.checkpoint",
    "variant": "ram_model.config",
}

__all__ = [
    "CheckpointError",
    "ModelOutputError",
    "Ram",
    "RamConfig",
    "RamPlus",
    "SwinConfig",
    "TagDecoderConfig",
    "Tagger",
    "Tags",
    "UnknownModelError",
    "UnknownTagError",
    "Vocabulary",
    "asymmetric_loss",
    "load_folder",
    "load_official",
    "open_model",
    "save_folder",
    "variant",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ram_model' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

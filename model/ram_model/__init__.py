"""The Recognize Anything Model family in PyTorch; knows nothing of Ray.

Names load on first use (PEP 562): `import ram_model.transforms` in a decoder process must not
pay for torch.

    tagger         images to tags: the one inference path
    on_device      a model made ready on a device
    folding        what is computed once for inference
    tag_choice     which tags are decided on
    tag_selection  which of them an image gets
    captioning     tags and image to a sentence
    opened_model   a model that was opened
    networks       the models themselves
    files          model folders and checkpoints
    words          texts to label embeddings: new tags
    training       losses and augmentation
    transforms     images to model input
    wordpiece      BERT's word pieces
    vocabulary     the tags a model knows
    metrics        measures of tagging
    weight_files   weights on disk
    text_files     text as people's programs write it
    tensors_only   tensors of a file that holds other objects too
    config         shapes of the models
    errors         what is refused
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ram_model.config import (
        CaptionConfig,
        ConvConfig,
        RamConfig,
        SwinConfig,
        TagDecoderConfig,
        variant,
    )
    from ram_model.errors import (
        CaptionError,
        CheckpointError,
        ModelOutputError,
        UnknownModelError,
        UnknownTagError,
    )
    from ram_model.files.checkpoint import load_folder, save_folder
    from ram_model.files.official_checkpoint import load_official
    from ram_model.files.pretrained import open_model
    from ram_model.networks.ram import Ram
    from ram_model.networks.ram_plus import RamPlus
    from ram_model.networks.tag2text import Tag2Text, tag2text_vocabulary
    from ram_model.networks.text_generation import CaptionOptions
    from ram_model.tagger import Tagger, Tags
    from ram_model.training.losses import asymmetric_loss
    from ram_model.vocabulary import Vocabulary
    from ram_model.wordpiece import WordPieceTokenizer

_HOME = {
    "CaptionConfig": "ram_model.config",
    "CaptionError": "ram_model.errors",
    "CaptionOptions": "ram_model.networks.text_generation",
    "CheckpointError": "ram_model.errors",
    "ModelOutputError": "ram_model.errors",
    "Ram": "ram_model.networks.ram",
    "RamConfig": "ram_model.config",
    "RamPlus": "ram_model.networks.ram_plus",
    "ConvConfig": "ram_model.config",
    "SwinConfig": "ram_model.config",
    "Tag2Text": "ram_model.networks.tag2text",
    "TagDecoderConfig": "ram_model.config",
    "Tagger": "ram_model.tagger",
    "Tags": "ram_model.tagger",
    "UnknownModelError": "ram_model.errors",
    "UnknownTagError": "ram_model.errors",
    "Vocabulary": "ram_model.vocabulary",
    "WordPieceTokenizer": "ram_model.wordpiece",
    "asymmetric_loss": "ram_model.training.losses",
    "load_folder": "ram_model.files.checkpoint",
    "load_official": "ram_model.files.official_checkpoint",
    "open_model": "ram_model.files.pretrained",
    "save_folder": "ram_model.files.checkpoint",
    "tag2text_vocabulary": "ram_model.networks.tag2text",
    "variant": "ram_model.config",
}

__all__ = [
    "CaptionConfig",
    "CaptionError",
    "CaptionOptions",
    "CheckpointError",
    "ConvConfig",
    "ModelOutputError",
    "Ram",
    "RamConfig",
    "RamPlus",
    "SwinConfig",
    "Tag2Text",
    "TagDecoderConfig",
    "Tagger",
    "Tags",
    "UnknownModelError",
    "UnknownTagError",
    "Vocabulary",
    "WordPieceTokenizer",
    "asymmetric_loss",
    "load_folder",
    "load_official",
    "open_model",
    "save_folder",
    "tag2text_vocabulary",
    "variant",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'ram_model' has no attribute {name!r}")
    return getattr(import_module(_HOME[name]), name)

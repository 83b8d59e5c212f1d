"""A whole CLIP of open_clip's own classes, in the layout that open_clip publishes.

`ram_model.words.text_encoder` reads the text tower of such a folder,
`load_image_tower` the image tower.
Shape legend: B images, S image side, E embedding width.
"""

import json
import shutil
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from ram_model.errors import CheckpointError
from ram_model.weight_files import write_weights

CONFIG, WEIGHTS = "open_clip_config.json", "open_clip_model.safetensors"

SMALL: dict[str, Any] = {
    "embed_dim": 512,
    "vision_cfg": {"image_size": 64, "layers": 3, "width": 192, "patch_size": 8},
    "text_cfg": {
        "context_length": 32,
        "vocab_size": 49408,
        "width": 192,
        "heads": 3,
        "layers": 3,
    },
    "quick_gelu": False,
}
"""14 M parameters, 9.5 M of them word pieces; wide as CLIP ViT-B/16, whose place it takes."""


def clip_config(name: str) -> dict[str, Any]:
    """Return the configuration of "small", or of one of open_clip's models, such as "ViT-B-16".

    Raises:
        ValueError: there is no model of that name.
    """
    if name == "small":
        return SMALL
    import open_clip

    config = open_clip.get_model_config(name)
    if config is None:
        raise ValueError(f"variant is {name!r}, but must be small or one of open_clip's models.")
    return config


def build_clip(config: dict[str, Any]) -> Any:
    """Return an `open_clip.CLIP` with random weights.

    Raises:
        CheckpointError: it is not a configuration of one.
    """
    import open_clip

    allowed = {"embed_dim", "vision_cfg", "text_cfg", "quick_gelu"}
    try:
        return open_clip.CLIP(**{name: config[name] for name in allowed & config.keys()})
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"This is not the configuration of a CLIP: {error}.") from error


def load_clip(folder: str | Path) -> tuple[Any, dict[str, Any]]:
    """Return the CLIP in a folder, in evaluation mode, and its configuration.

    Raises:
        CheckpointError: it is not a folder of `open_clip_config.json` and
            `open_clip_model.safetensors`, or they do not fit.
    """
    folder = Path(folder)
    for name in (CONFIG, WEIGHTS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not a folder of a CLIP: {name} is missing.")
    try:
        published = json.loads((folder / CONFIG).read_text(encoding="utf-8"))
        config = published.get("model_cfg", published)
    except (AttributeError, ValueError) as error:
        raise CheckpointError(f"{folder / CONFIG} is damaged: {error}.") from error
    model = build_clip(config)
    try:
        model.load_state_dict(load_file(folder / WEIGHTS))
    except RuntimeError as error:
        reason = str(error).splitlines()[-1].strip()
        raise CheckpointError(f"{folder / WEIGHTS} does not fit: {reason}") from error
    return model.eval(), config


def save_clip(state: dict[str, Tensor], config: dict[str, Any], folder: str | Path) -> Path:
    """Write a CLIP's weights and configuration; return the folder."""
    folder = Path(folder)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    write_weights(state, folder / WEIGHTS)
    text = json.dumps({"model_cfg": config}, indent=2) + "\n"
    (folder / CONFIG).write_text(text, encoding="utf-8")
    return folder


class ImageTower(nn.Module):
    """The image side of a CLIP: what RAM's image projection is distilled from."""

    def __init__(self, visual: nn.Module, *, width: int, image_size_px: int) -> None:
        super().__init__()
        self.visual = visual
        self.width = width
        """E."""
        self.image_size_px = image_size_px

    def forward(self, images_B3SS: Tensor) -> Tensor:
        """Return float32 features [B, E], not normalised, of images with CLIP's statistics."""
        return self.visual(images_B3SS).to(torch.float32)


def load_image_tower(folder: str | Path) -> ImageTower:
    """Return the image tower of a CLIP's folder, in evaluation mode.

    Raises:
        CheckpointError: as `load_clip`.
    """
    model, config = load_clip(folder)
    size = int(config["vision_cfg"]["image_size"])
    tower = ImageTower(model.visual, width=int(config["embed_dim"]), image_size_px=size)
    return tower.requires_grad_(False).eval()

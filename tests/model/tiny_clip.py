"""A CLIP of open_clip's own classes with random weights, small enough for tests."""

from functools import cache
from pathlib import Path

import open_clip
import torch

from ram_model.words.text_encoder import load_text_encoder


@cache
def tiny_clip(*, quick_gelu: bool = True) -> open_clip.CLIP:
    """Return an untrained CLIP with a text tower of one layer, always the same."""
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = open_clip.CLIP(512, vision, text, quick_gelu=quick_gelu)  # pyright: ignore[reportArgumentType]
        for parameter in model.transformer.parameters():
            torch.nn.init.normal_(parameter, std=0.2)  # sentences then differ clearly
    return model.eval()


def write_text_encoder(folder: Path) -> None:
    """Give a model folder the text encoder of `tiny_clip`."""
    weights = folder / "clip.bin"
    torch.save(tiny_clip().state_dict(), weights)
    load_text_encoder(weights).save(folder / "text_encoder")
    weights.unlink()

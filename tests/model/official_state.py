"""State dicts as the official checkpoints have them, made from models of ours."""

from pathlib import Path

import torch
from torch import Tensor

from ram_model.config import Kind, variant
from ram_model.errors import CheckpointError
from ram_model.files import official_layout
from ram_model.files.official_layout import our_name
from ram_model.networks.ram import Ram
from ram_model.networks.ram_plus import RamPlus


def write_checkpoint(path: Path, kind: Kind = "ram") -> Path:
    """Write a tiny checkpoint of three tags that writes no captions; return its path."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = variant("tiny", kind=kind, num_tags=3)
        model = (RamPlus if kind == "ram_plus" else Ram)(config)
    return write_checkpoint_of(model, path)


def write_checkpoint_of(model: Ram, path: Path) -> Path:
    """Write a model as an official checkpoint, with the state of an optimizer; return its path."""
    optimizer = {"state": {0: {"exp_avg": torch.zeros(10_000)}}, "param_groups": []}
    torch.save({"model": official_state(model), "optimizer": optimizer, "epoch": 4}, path)
    return path


def official_state(model: Ram) -> dict[str, Tensor]:
    """The model's weights under official names, with what a real file has besides."""
    state = model.state_dict()
    learnt = model.config.kind == "tag2text"
    theirs = {_official_name(name, learnt): tensor for name, tensor in state.items()}
    theirs["visual_encoder.layers.0.blocks.1.attn_mask"] = torch.zeros(64, 16, 16)
    if model.config.kind == "ram" and model.config.captions is None:
        theirs["tag_encoder.encoder.layer.5.output.dense.bias"] = torch.zeros(4)
    return theirs


def _official_name(ours: str, learnt_labels: bool) -> str:
    """Invert the tables by trying every official spelling of a name."""
    if ours.startswith("caption_head."):
        return _official_caption_name(ours)
    if learnt_labels:  # names that mean other things in RAM
        for theirs, name in official_layout._NAMES.items():
            if name == ours:
                return theirs
    spellings = [
        theirs + ours.removeprefix(prefix)
        for theirs, prefix in official_layout._PREFIXES
        if ours.startswith(prefix)
    ]
    spellings += [
        name.replace(part, theirs)
        for name in spellings
        for theirs, part in official_layout._LAYER_PARTS
    ]
    return next(name for name in spellings if _maps_to(name, ours))


def _official_caption_name(ours: str) -> str:
    name = ours.removeprefix("caption_head.").replace(".layers.", ".encoder.layer.")
    spellings = [name.replace(part, theirs) for theirs, part in official_layout._CAPTION_PARTS]
    spellings += [s.replace("text_decoder.", "text_decoder.bert.", 1) for s in spellings]
    return next(name for name in spellings if _maps_to(name, ours))


def _maps_to(name: str, ours: str) -> bool:
    try:
        return our_name(name, captions=True) == ours
    except CheckpointError:
        return False

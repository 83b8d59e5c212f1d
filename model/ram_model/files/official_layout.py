"""Names of the official checkpoints against ours, as literal tables.

Source: the public code of recognize-anything (`ram/models/ram.py`, `ram_plus.py`, `tag2text.py`,
`bert.py`, `swin_transformer.py`), whose module attributes these names are.
"""

import re
from collections.abc import Iterable, Mapping

from torch import Tensor

from ram_model.errors import CheckpointError

# Whole names: Tag2Text's labels and per-tag classifier.
_NAMES: dict[str, str] = {
    "label_embed.weight": "label_embeddings",
    "fc.W": "classifier.weight",
    "fc.b": "classifier.bias",
}

# First match wins. timm's Swin merges patches at the start of a stage, the reference at the end
# of the one before, hence downsample 0, 1, 2 -> 1, 2, 3.
_PREFIXES: tuple[tuple[str, str], ...] = (
    ("visual_encoder.layers.0.downsample.", "image_encoder.swin.layers.1.downsample."),
    ("visual_encoder.layers.1.downsample.", "image_encoder.swin.layers.2.downsample."),
    ("visual_encoder.layers.2.downsample.", "image_encoder.swin.layers.3.downsample."),
    ("visual_encoder.", "image_encoder.swin."),
    ("image_proj.", "image_projection."),
    ("label_embed", "label_embeddings"),
    ("reweight_scale", "reweight_scale"),
    ("wordvec_proj.", "label_projection."),
    ("tagging_head.encoder.layer.", "tag_decoder.layers."),
    ("fc.", "classifier."),
)

# inside one layer of the tagging head
_LAYER_PARTS: tuple[tuple[str, str], ...] = (
    (".crossattention.self.query.", ".query."),
    (".crossattention.self.key.", ".key."),
    (".crossattention.self.value.", ".value."),
    (".crossattention.output.dense.", ".attention_output."),
    (".crossattention.output.LayerNorm.", ".attention_norm."),
    (".intermediate.dense.", ".expand."),
    (".output.dense.", ".contract."),
    (".output.LayerNorm.", ".output_norm."),
)

_OLD_PREFIX = ("vision_multi.", "tagging_head.")  # name of the tagging head in older files

# The caption side (257 M of RAM's 469 M parameters): not part of tagging.
CAPTION_PREFIXES = ("tag_encoder.", "text_decoder.")
# Rebuilt from the configuration: they hold no information.
DEAD_BUFFERS = (".relative_position_index", ".attn_mask", ".position_ids")

# First match wins, after "text_decoder.bert." has become "text_decoder.".
_CAPTION_PARTS: tuple[tuple[str, str], ...] = (
    (".embeddings.word_embeddings.", ".embeddings.pieces."),
    (".embeddings.position_embeddings.", ".embeddings.positions."),
    (".embeddings.LayerNorm.", ".embeddings.norm."),
    (".attention.self.", ".attention."),
    (".attention.output.dense.", ".attention.output."),
    (".attention.output.LayerNorm.", ".attention.norm."),
    (".cls.predictions.transform.dense.", ".transform."),
    (".cls.predictions.transform.LayerNorm.", ".transform_norm."),
    (".cls.predictions.bias", ".bias"),
    *((theirs, ".reading" + ours) for theirs, ours in _LAYER_PARTS),
)

# One tensor under two names. Layers 0 and 1 of the tag encoder are the tagging head, but for
# self-attention; the output matrix of the text decoder is its piece embeddings.
_SHARED_LAYER = re.compile(r"tag_encoder\.encoder\.layer\.[01]\.(?!attention\.)")
_SHARED_OUTPUT: dict[str, str] = {
    "text_decoder.cls.predictions.decoder.weight": (
        "text_decoder.bert.embeddings.word_embeddings.weight"
    ),
    "text_decoder.cls.predictions.decoder.bias": "text_decoder.cls.predictions.bias",
}


def our_name(official: str, *, captions: bool = False) -> str | None:
    """Return our name of an official key; None where it is knowingly dropped.

    Args:
        captions: keep the caption side; False drops it, and only tagging remains.

    Raises:
        CheckpointError: the key is in no table.
    """
    official = kept_name(official)
    if official.endswith(DEAD_BUFFERS):
        return None
    if official.startswith(CAPTION_PREFIXES):
        return _name_in_captions(official) if captions else None
    if official in _NAMES:
        return _NAMES[official]
    for theirs, ours in _PREFIXES:
        if official.startswith(theirs):
            name = ours + official.removeprefix(theirs)
            if theirs == "tagging_head.encoder.layer.":
                return _replace_part(name, _LAYER_PARTS, official)
            return name
    raise _unknown(official)


def rename_old(official: str) -> str:
    """Return the current official name of a key that may carry the old one."""
    old, new = _OLD_PREFIX
    return new + official.removeprefix(old) if official.startswith(old) else official


def kept_name(official: str) -> str:
    """Return the name under which we keep the tensor of a current official key."""
    if _SHARED_LAYER.match(official):
        return "tagging_head." + official.removeprefix("tag_encoder.")
    return _SHARED_OUTPUT.get(official, official)


def to_our_layout(state: Mapping[str, Tensor], *, captions: bool = False) -> dict[str, Tensor]:
    """Return the weights of an official state dict under our names.

    Args:
        captions: with the caption side; False leaves it behind.

    Raises:
        CheckpointError: an unknown key, a key under both its old and its new name, or a tied
            pair whose two copies differ.
    """
    current: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if rename_old(name) in current:
            raise CheckpointError(f"The checkpoint holds {rename_old(name)!r} under two names.")
        current[rename_old(name)] = tensor
    ours: dict[str, Tensor] = {}
    for name, tensor in current.items():
        our = our_name(name, captions=captions)
        if our is None:
            continue
        twin = current.get(kept_name(name), tensor)
        if twin is not tensor and not tensor.equal(twin):
            raise CheckpointError(f"{name!r} and {kept_name(name)!r} are one tensor, but differ.")
        if ours.setdefault(our, twin) is not twin:
            raise CheckpointError(f"The checkpoint holds {name!r} under two names.")
    return ours


def _name_in_captions(official: str) -> str:
    name = official.replace("text_decoder.bert.", "text_decoder.", 1)
    name = name.replace(".encoder.layer.", ".layers.", 1)
    return "caption_head." + _replace_part(name, _CAPTION_PARTS, official)


def _replace_part(name: str, parts: Iterable[tuple[str, str]], official: str) -> str:
    for theirs, ours in parts:
        if theirs in name:
            return name.replace(theirs, ours, 1)
    raise _unknown(official)


def _unknown(official: str) -> CheckpointError:
    return CheckpointError(f"The checkpoint holds {official!r}, which belongs to no known part.")

"""Names of the official checkpoints against ours, as literal tables.

Source: the public code of recognize-anything (`ram/models/ram.py`, `ram_plus.py`, `bert.py`,
`swin_transformer.py`), whose module attributes these names are.
"""

from collections.abc import Iterable

from torch import Tensor

from ram_model.errors import CheckpointError

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

# Weights of the caption losses (257 M of RAM's 469 M parameters): not part of tagging.
DEAD_PREFIXES = ("tag_encoder.", "text_decoder.")
# Rebuilt from the configuration: they hold no information.
DEAD_BUFFERS = (".relative_position_index", ".attn_mask", ".position_ids")

# Layers 0 and 1 of the caption encoder are the tagging head under a second name, except for
# their self-attention and embeddings.
_TWIN = ("tag_encoder.encoder.layer.", "tagging_head.encoder.layer.")


def our_name(official: str) -> str | None:
    """Return our name of an official key; None where tagging knowingly drops it.

    Raises:
        CheckpointError: the key is in no table.
    """
    if official.startswith(DEAD_PREFIXES) or official.endswith(DEAD_BUFFERS):
        return None
    for theirs, ours in _PREFIXES:
        if official.startswith(theirs):
            name = ours + official.removeprefix(theirs)
            if theirs == "tagging_head.encoder.layer.":
                return _name_in_layer(name, official)
            return name
    raise CheckpointError(f"The checkpoint holds {official!r}, which belongs to no known part.")


def rename_old(official: str) -> str:
    """Return the current official name of a key that may carry the old one."""
    old, new = _OLD_PREFIX
    return new + official.removeprefix(old) if official.startswith(old) else official


def twin_names(official: Iterable[str]) -> list[tuple[str, str]]:
    """Return the pairs of keys that hold one tied tensor under two names."""
    names = set(official)
    twins = []
    for name in sorted(names):
        if name.startswith(_TWIN[0]):
            other = _TWIN[1] + name.removeprefix(_TWIN[0])
            if other in names:
                twins.append((name, other))
    return twins


def to_our_layout(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return the tagging weights of an official state dict under our names.

    Raises:
        CheckpointError: an unknown key, a key under both its old and its new name, or a tied
            pair whose two copies differ.
    """
    current: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if rename_old(name) in current:
            raise CheckpointError(f"The checkpoint holds {rename_old(name)!r} under two names.")
        current[rename_old(name)] = tensor
    for twin, name in twin_names(current):
        if not current[twin].equal(current[name]):
            raise CheckpointError(f"{twin!r} and {name!r} are one tensor, but differ.")
    renamed = ((our_name(name), tensor) for name, tensor in current.items())
    return {name: tensor for name, tensor in renamed if name is not None}


def _name_in_layer(name: str, official: str) -> str:
    for theirs, ours in _LAYER_PARTS:
        if theirs in name:
            return name.replace(theirs, ours, 1)
    raise CheckpointError(f"The checkpoint holds {official!r}, which belongs to no known part.")

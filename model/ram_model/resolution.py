"""The same model for another image size: everything is kept but the position biases.

Swin's windows grow with the image, so that each still covers the same part of it, and their
tables of relative positions are interpolated on a geometric grid (as the reference does between
224 px and 384 px; timm's implementation).
"""

from dataclasses import replace

from timm.layers.pos_embed_rel import resize_rel_pos_bias_table

from ram_model.checkpoint import build_on_meta, fill_model
from ram_model.config import SwinConfig
from ram_model.ram import Ram

_TABLE = ".relative_position_bias_table"


def resized_encoder(encoder: SwinConfig, image_size_px: int) -> SwinConfig:
    """Return the image encoder for another image size.

    The window grows with the size where it stays whole (7 at 224 px is 12 at 384 px).

    Raises:
        ValueError: no window fits the size.
    """
    scaled = encoder.window_size * image_size_px
    window = encoder.window_size
    if scaled % encoder.image_size_px == 0:
        window = scaled // encoder.image_size_px
    return replace(encoder, image_size_px=image_size_px, window_size=window)


def change_resolution(model: Ram, image_size_px: int) -> Ram:
    """Return a model for images of another size, with interpolated position biases.

    Raises:
        ValueError: no window fits the size.
    """
    encoder = resized_encoder(model.config.image_encoder, image_size_px)
    if encoder == model.config.image_encoder:
        return model
    config = replace(model.config, image_encoder=encoder)
    wanted = build_on_meta(config).state_dict()
    state = dict(model.state_dict())
    for name, tensor in state.items():
        if name.endswith(_TABLE) and tensor.shape != wanted[name].shape:
            window = (int(len(wanted[name]) ** 0.5) + 1) // 2
            shape = tuple(wanted[name].shape)
            state[name] = resize_rel_pos_bias_table(tensor, (window, window), shape)
    return fill_model(config, state).train(model.training)

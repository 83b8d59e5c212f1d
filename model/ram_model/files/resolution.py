"""The same model for another image size: everything is kept but the position biases.

A convolutional encoder has none: the same weights see more or fewer tokens.
Swin's windows grow with the image, so that each still covers the same part of it, and their
tables of relative positions are interpolated by cubic splines on a geometric grid, as the
reference does between 224 px and 384 px (recognize-anything, `interpolate_relative_pos_embed`).
"""

import math
from dataclasses import replace

import numpy as np
import torch
from scipy.interpolate import RectBivariateSpline
from torch import Tensor

from ram_model.config import ConvConfig, EncoderConfig
from ram_model.networks.filling import build_on_meta, fill_model
from ram_model.networks.ram import Ram

_TABLE = ".relative_position_bias_table"


def resized_encoder(encoder: EncoderConfig, image_size_px: int) -> EncoderConfig:
    """Return the image encoder for another image size.

    A Swin's window grows with the size where it stays whole (7 at 224 px is 12 at 384 px).

    Raises:
        ValueError: no window fits the size, or it is not a multiple of 32.
    """
    if isinstance(encoder, ConvConfig):
        return replace(encoder, image_size_px=image_size_px)
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
            state[name] = resize_table(tensor, math.isqrt(len(wanted[name])))
    return fill_model(config, state).train(model.training)


def resize_table(table_PH: Tensor, side: int) -> Tensor:
    """Return a table of relative-position biases, float32 [side * side, H], of another window.

    Args:
        table_PH: [P, H], P the square of 2 w - 1 for a window of w tokens; H heads.
        side: 2 w - 1 of the new window.
    """
    old = math.isqrt(len(table_PH))
    if old == 1:  # a window of one token has one bias, which nothing can be read from
        return table_PH.expand(side * side, -1).contiguous()
    heads = table_PH.detach().double().numpy().reshape(old, old, -1)
    places, wanted = _geometric_places(old, side), np.arange(side) - side // 2
    degree = min(3, old - 1)
    resized = [
        RectBivariateSpline(places, places, heads[..., head], kx=degree, ky=degree)(wanted, wanted)
        for head in range(heads.shape[-1])
    ]
    return torch.from_numpy(np.stack(resized, -1).reshape(side * side, -1)).to(torch.float32)


def _geometric_places(old: int, new: int) -> np.ndarray:
    """Return where the old positions lie among the new ones: ever further apart from the centre."""
    low, high = 1.01, 1.5  # bounds and precision of the ratio: the reference's
    ratio = high
    while high - low > 1e-6:
        ratio = (low + high) / 2
        reach = (1 - ratio ** (old // 2)) / (1 - ratio)
        low, high = (low, ratio) if reach > new // 2 else (ratio, high)
    beyond = np.cumsum(ratio ** np.arange(old // 2))
    return np.concatenate([-beyond[::-1], [0], beyond])

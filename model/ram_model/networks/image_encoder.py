"""Image encoders: a Swin Transformer or an EfficientNet-Lite, one output layout.

Shape legend: B images, S image side in pixels, T output tokens, V output width.
"""

import torch
from torch import Tensor, nn

from ram_model.config import ConvConfig, EncoderConfig, SwinConfig
from ram_model.networks import efficientnet_lite
from ram_model.networks.swin import SwinTransformer, SwinTransformerBlock, WindowAttention
from ram_model.transforms import IMAGENET_MEAN, IMAGENET_STD


def build_image_encoder(config: EncoderConfig) -> "ImageEncoder":
    """Return the image encoder of a configuration, with random weights."""
    return ConvEncoder(config) if isinstance(config, ConvConfig) else SwinEncoder(config)


class ImageEncoder(nn.Module):
    """Images to tokens: the mean of all tokens first, then the tokens in row order."""

    def __init__(self, config: EncoderConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, images_B3SS: Tensor) -> Tensor:
        """Return tokens [B, 1 + T, V]; index 0 is the mean over the others.

        Args:
            images_B3SS: float [B, 3, S, S], RGB, normalised with the ImageNet statistics.

        Raises:
            ValueError: the images are not [B, 3, S, S] with the configured S.
        """
        side = self.config.image_size_px
        if images_B3SS.ndim != 4 or images_B3SS.shape[1:] != (3, side, side):
            shape = tuple(images_B3SS.shape)
            raise ValueError(f"Images have shape {shape}, but must be (B, 3, {side}, {side}).")
        tokens_BTV = self.encode(images_B3SS)
        return torch.cat([tokens_BTV.mean(dim=1, keepdim=True), tokens_BTV], dim=1)

    def encode(self, images_B3SS: Tensor) -> Tensor:
        """Return the tokens [B, T, V] of images of the right shape."""
        raise NotImplementedError

    def rebuild_buffers(self) -> None:
        """Recompute what no file stores; needed after a build on the meta device."""
        raise NotImplementedError


class SwinEncoder(ImageEncoder):
    """Images to tokens: the mean of all tokens first, then the tokens in row order.

    Facts kept from the reference (recognize-anything, `ram/models/swin_transformer.py`):
    LayerNorm eps 1e-5 (PyTorch's default), exact GELU, shift mask of -100 added after the
    position bias, no shift where one window covers the grid, mean taken after the final norm.
    """

    def __init__(self, config: SwinConfig) -> None:
        super().__init__(config)
        self.swin = SwinTransformer(config)

    def encode(self, images_B3SS: Tensor) -> Tensor:
        """As `ImageEncoder.encode`."""
        return self.swin.forward_features(images_B3SS).flatten(1, 2)

    def rebuild_buffers(self) -> None:
        """Recompute position indices and shift masks on the parameters' device and dtype.

        They carry no information and no file stores them; needed after a build on the meta device.
        """
        for module in self.swin.modules():
            if isinstance(module, (WindowAttention, SwinTransformerBlock)):
                module.make_buffers()


class ConvEncoder(ImageEncoder):
    """A convolutional network; its last feature map, row by row, is the tokens."""

    scale: Tensor
    shift: Tensor

    def __init__(self, config: ConvConfig) -> None:
        super().__init__(config)
        self.conv = efficientnet_lite.EfficientNetLite(config.architecture, config.drop_path)
        for name in ("scale", "shift"):
            self.register_buffer(name, torch.empty(1, 3, 1, 1), persistent=False)
        self.rebuild_buffers()

    def encode(self, images_B3SS: Tensor) -> Tensor:
        """As `ImageEncoder.encode`."""
        # padding is 0 in the network's own statistics, so that these cannot go into its stem
        map_BVHW = self.conv.forward_features(images_B3SS * self.scale + self.shift)
        return map_BVHW.flatten(2).transpose(1, 2)

    def rebuild_buffers(self) -> None:
        """Recompute the change from RAM's statistics to the network's own."""
        like = next(self.conv.parameters())
        mean, std, own_mean, own_std = (
            torch.tensor(values, dtype=torch.float64).view(1, 3, 1, 1)
            for values in (
                IMAGENET_MEAN,
                IMAGENET_STD,
                efficientnet_lite.MEAN,
                efficientnet_lite.STD,
            )
        )
        self.scale = (std / own_std).to(like)
        self.shift = ((mean - own_mean) / own_std).to(like)

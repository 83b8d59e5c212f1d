"""Image encoders: a Swin Transformer or a convolutional network of timm, one output layout.

Shape legend: B images, S image side in pixels, T output tokens, V output width.
"""

from typing import cast

import torch
from timm.layers.norm_act import freeze_batch_norm_2d
from timm.models import EfficientNet, create_model, get_pretrained_cfg
from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock, WindowAttention
from torch import Tensor, nn

from ram_model.config import PATCH_SIZE_PX, ConvConfig, EncoderConfig, SwinConfig
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
        self.swin = SwinTransformer(
            img_size=config.image_size_px,
            patch_size=PATCH_SIZE_PX,
            window_size=config.window_size,
            embed_dim=config.embed_dim,
            depths=config.depths,
            num_heads=config.num_heads,
            drop_path_rate=config.drop_path,
            num_classes=0,
            global_pool="",
            strict_img_size=True,
        )

    def encode(self, images_B3SS: Tensor) -> Tensor:
        """As `ImageEncoder.encode`."""
        return self.swin.forward_features(images_B3SS).flatten(1, 2)

    def rebuild_buffers(self) -> None:
        """Recompute position indices and shift masks on the parameters' device and dtype.

        They carry no information and no file stores them; needed after a build on the meta device.
        """
        device = next(self.swin.parameters()).device
        for module in self.swin.modules():
            if isinstance(module, WindowAttention):
                # timm fills this one in place, so it must first exist outside the meta device
                index = module.get_buffer("relative_position_index")
                module.relative_position_index = torch.empty_like(index, device=device)
                module.init_non_persistent_buffers()
            elif isinstance(module, SwinTransformerBlock):
                module.init_non_persistent_buffers()


class ConvEncoder(ImageEncoder):
    """A convolutional network of timm; its last feature map, row by row, is the tokens.

    Batch norms are frozen, weights and statistics alike, in training too: they are part of what
    published weights bring, and a batch on one worker is too small to learn them anew.
    """

    scale: Tensor
    shift: Tensor

    def __init__(self, config: ConvConfig) -> None:
        super().__init__(config)
        self._own = _own_statistics(config.architecture)
        network = create_model(
            config.architecture,
            pretrained=False,
            num_classes=0,
            global_pool="",
            drop_path_rate=config.drop_path,
        )
        self.conv = cast(EfficientNet, freeze_batch_norm_2d(network))
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
            for values in (IMAGENET_MEAN, IMAGENET_STD, *self._own)
        )
        self.scale = (std / own_std).to(like)
        self.shift = ((mean - own_mean) / own_std).to(like)


def _own_statistics(architecture: str) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation with which a network of timm was trained."""
    known = get_pretrained_cfg(architecture)
    assert known is not None, architecture
    return known.mean, known.std

"""Swin Transformer image encoder: timm's blocks, the official output layout.

Shape legend: B images, S image side in pixels, T output tokens, V output width.
"""

import torch
from timm.models.swin_transformer import SwinTransformer, SwinTransformerBlock, WindowAttention
from torch import Tensor, nn

from ram_model.config import PATCH_SIZE_PX, SwinConfig


class ImageEncoder(nn.Module):
    """Images to tokens: the mean of all tokens first, then the tokens in row order.

    Facts kept from the reference (recognize-anything, `ram/models/swin_transformer.py`):
    LayerNorm eps 1e-5 (PyTorch's default), exact GELU, shift mask of -100 added after the
    position bias, no shift where one window covers the grid, mean taken after the final norm.
    """

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.config = config
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

    def forward(self, images_B3SS: Tensor) -> Tensor:
        """Return tokens [B, 1 + T, V]; index 0 is the mean over the normalised tokens.

        Args:
            images_B3SS: float [B, 3, S, S], RGB, normalised with the ImageNet statistics.

        Raises:
            ValueError: the images are not [B, 3, S, S] with the configured S.
        """
        side = self.config.image_size_px
        if images_B3SS.ndim != 4 or images_B3SS.shape[1:] != (3, side, side):
            shape = tuple(images_B3SS.shape)
            raise ValueError(f"Images have shape {shape}, but must be (B, 3, {side}, {side}).")
        tokens_BTV = self.swin.forward_features(images_B3SS).flatten(1, 2)
        return torch.cat([tokens_BTV.mean(dim=1, keepdim=True), tokens_BTV], dim=1)

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

"""Swin Transformer (v1), as the reference uses it: windows tile the grid, so nothing is padded.

Names of modules and parameters are timm's, so that its weights fit. It is here, not imported from
there, because importing timm takes longer than tagging a photo. Facts: Liu et al., 2021
(arXiv:2103.14030), and recognize-anything, `ram/models/swin_transformer.py`.

Shape legend: B images, H tokens per side of the grid, C channels, W windows per image, M tokens per
side of a window, N = M * M, A attention heads.
"""

from collections.abc import Iterator
from itertools import count

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ram_model.config import PATCH_SIZE_PX, SwinConfig
from ram_model.networks.drop_path import DropPath, rising_rates

MASKED = -100.0
"""Added to the scores of tokens that are neighbours in a shifted window only."""
MLP_RATIO = 4


class SwinTransformer(nn.Module):
    """Images to the tokens of the last stage, normalised."""

    def __init__(self, config: SwinConfig) -> None:
        super().__init__()
        self.patch_embed = PatchEmbedding(config.embed_dim)
        rates = iter(rising_rates(config.drop_path, sum(config.depths)))
        self.layers = nn.Sequential(
            *(SwinStage(config, stage, rates) for stage in range(len(config.depths)))
        )
        self.norm = nn.LayerNorm(config.width)
        self.apply(_initialise)

    def forward_features(self, images_B3SS: Tensor) -> Tensor:
        """Return [B, H, H, C] of the last stage."""
        return self.norm(self.layers(self.patch_embed(images_B3SS)))


class PatchEmbedding(nn.Module):
    """[B, 3, S, S] to [B, H, H, C]: a token per patch."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, channels, PATCH_SIZE_PX, PATCH_SIZE_PX)
        self.norm = nn.LayerNorm(channels)

    def forward(self, images: Tensor) -> Tensor:
        return self.norm(self.proj(images).permute(0, 2, 3, 1))


class SwinStage(nn.Module):
    """Halves the grid, but in the first stage; then its blocks, every second one shifted."""

    def __init__(self, config: SwinConfig, stage: int, drop_paths: Iterator[float]) -> None:
        super().__init__()
        channels = config.embed_dim * 2**stage
        self.downsample = PatchMerging(channels // 2) if stage else nn.Identity()
        grid, heads = config.grid_sizes[stage], config.num_heads[stage]
        self.blocks = nn.Sequential(
            *(
                SwinTransformerBlock(
                    channels,
                    heads,
                    grid=grid,
                    window=min(grid, config.window_size),
                    shifted=number % 2 == 1,
                    drop_path=next(drop_paths),
                )
                for number in range(config.depths[stage])
            )
        )

    def forward(self, tokens: Tensor) -> Tensor:
        return self.blocks(self.downsample(tokens))


class PatchMerging(nn.Module):
    """Four neighbours become one token: [B, H, H, C] to [B, H / 2, H / 2, 2 C]."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * channels)
        self.reduction = nn.Linear(4 * channels, 2 * channels, bias=False)

    def forward(self, tokens: Tensor) -> Tensor:
        squares = tokens.unflatten(1, (-1, 2)).unflatten(3, (-1, 2))  # [B, H/2, 2, H/2, 2, C]
        return self.reduction(self.norm(squares.permute(0, 1, 3, 4, 2, 5).flatten(3)))


class SwinTransformerBlock(nn.Module):
    """Attention within windows, then an MLP, each beside a path that skips it."""

    attn_mask: Tensor | None
    """[W, N, N]: 0 or MASKED; None without a shift. No file stores it."""

    def __init__(
        self,
        channels: int,
        num_heads: int,
        *,
        grid: int,
        window: int,
        shifted: bool,
        drop_path: float,
    ) -> None:
        """`shifted`: by half a window, unless one window is the whole grid."""
        super().__init__()
        self.grid, self.window = grid, window
        self.shift = window // 2 if shifted and window < grid else 0
        self.norm1 = nn.LayerNorm(channels)
        self.attn = WindowAttention(channels, num_heads, window)
        self.drop_path1 = DropPath(drop_path)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = Mlp(channels)
        self.drop_path2 = DropPath(drop_path)
        self.register_buffer("attn_mask", None, persistent=False)
        self.make_buffers()

    def make_buffers(self) -> None:
        """Compute what no file stores, on the parameters' device, in their dtype."""
        if not self.shift:
            return
        like = self.norm1.weight
        if like.is_meta:  # a shape is all: to compute there torch loads its compiler
            tokens = self.window**2
            self.attn_mask = like.new_empty((self.grid // self.window) ** 2, tokens, tokens)
        else:
            self.attn_mask = _shift_mask(self.grid, self.window, self.shift).to(like)

    def forward(self, tokens: Tensor) -> Tensor:
        tokens = tokens + self.drop_path1(self._attend(self.norm1(tokens)))
        return tokens + self.drop_path2(self.mlp(self.norm2(tokens)))

    def _attend(self, tokens: Tensor) -> Tensor:
        if self.shift:
            tokens = tokens.roll((-self.shift, -self.shift), (1, 2))
        attended = self.attn(_to_windows(tokens, self.window), mask=self.attn_mask)
        tokens = _from_windows(attended, self.window, self.grid)
        return tokens.roll((self.shift, self.shift), (1, 2)) if self.shift else tokens


class WindowAttention(nn.Module):
    """Attention among the tokens of a window, with a learned bias by their offset."""

    relative_position_index: Tensor
    """int64 [N, N]: row of the table for each pair of tokens. No file stores it."""

    def __init__(self, channels: int, num_heads: int, window: int) -> None:
        super().__init__()
        self.window, self.num_heads = window, num_heads
        self.scale = (channels // num_heads) ** -0.5
        offsets = (2 * window - 1) ** 2
        self.relative_position_bias_table = nn.Parameter(torch.empty(offsets, num_heads))
        nn.init.trunc_normal_(self.relative_position_bias_table, std=0.02)
        self.qkv = nn.Linear(channels, 3 * channels)
        self.proj = nn.Linear(channels, channels)
        self.register_buffer("relative_position_index", None, persistent=False)
        self.make_buffers()

    def make_buffers(self) -> None:
        """Compute what no file stores, on the parameters' device."""
        table = self.relative_position_bias_table
        if table.is_meta:
            shape = (self.window**2, self.window**2)
            self.relative_position_index = table.new_empty(shape, dtype=torch.int64)
        else:
            self.relative_position_index = _offset_index(self.window).to(table.device)

    def position_bias(self) -> Tensor:
        """Return [1, A, N, N]."""
        pairs = self.relative_position_bias_table[self.relative_position_index]
        return pairs.permute(2, 0, 1).contiguous().unsqueeze(0)

    def forward(self, windows: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return the attended windows; [B * W, N, C] in and out, mask [W, N, N]."""
        qkv = self.qkv(windows).unflatten(-1, (3, self.num_heads, -1)).permute(2, 0, 3, 1, 4)
        queries, keys, values = qkv.unbind(0)
        scores = (queries * self.scale) @ keys.transpose(-2, -1) + self.position_bias()
        if mask is not None:
            scores = scores.unflatten(0, (-1, len(mask))) + mask.unsqueeze(1)
            scores = scores.flatten(0, 1)
        return self.proj((scores.softmax(-1) @ values).transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two layers with an exact GELU between."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(channels, MLP_RATIO * channels)
        self.fc2 = nn.Linear(MLP_RATIO * channels, channels)

    def forward(self, tokens: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(tokens)))


def _to_windows(tokens: Tensor, window: int) -> Tensor:
    """[B, H, H, C] to [B * W, N, C], windows in row order."""
    squares = tokens.unflatten(1, (-1, window)).unflatten(3, (-1, window))
    return squares.transpose(2, 3).flatten(3, 4).flatten(0, 2)


def _from_windows(windows: Tensor, window: int, grid: int) -> Tensor:
    """[B * W, N, C] to [B, H, H, C]."""
    side = grid // window
    squares = windows.unflatten(1, (window, window)).unflatten(0, (-1, side, side))
    return squares.transpose(2, 3).flatten(3, 4).flatten(1, 2)


def _shift_mask(grid: int, window: int, shift: int) -> Tensor:
    """Return [W, N, N]: MASKED where two tokens of a shifted window lie in different regions."""
    parts = (slice(0, -window), slice(-window, -shift), slice(-shift, None))
    regions, number = torch.zeros(1, grid, grid, 1), count()
    for rows in parts:
        for columns in parts:
            regions[:, rows, columns] = next(number)
    of_window = _to_windows(regions, window).squeeze(-1)
    apart = of_window.unsqueeze(1) != of_window.unsqueeze(2)
    return torch.zeros(apart.shape).masked_fill(apart, MASKED)


def _offset_index(window: int) -> Tensor:
    """Return int64 [N, N]: the number of the offset between two tokens of a window."""
    rows, columns = torch.arange(window), torch.arange(window)
    places = torch.cartesian_prod(rows, columns) if window > 1 else torch.zeros(1, 2).long()
    offsets = places.unsqueeze(1) - places.unsqueeze(0) + window - 1
    return offsets[..., 0] * (2 * window - 1) + offsets[..., 1]


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)

"""EfficientNet-Lite: convolutions, batch norms and ReLU6, without squeezing.

Names of modules and parameters are timm's, so that its weights fit; here for the same reason as
`ram_model.networks.swin`. Facts: Tan and Le, 2019 (arXiv:1905.11946), and the Lite variants of
TensorFlow's TPU models, from which padding ("same": the odd pixel on the far side) and the epsilon
of the norms come.

Shape legend: B images, C channels, H and W sides of a map.
"""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ram_model.networks.drop_path import DropPath

STEM_CHANNELS = 32
HEAD_CHANNELS = 1280
NORM_EPS = 1e-3
EXPANSION = 6
STAGES = (
    # kernel, stride, channels, blocks; before widening and deepening
    (3, 1, 16, 1),
    (3, 2, 24, 2),
    (5, 2, 40, 2),
    (3, 2, 80, 3),
    (5, 1, 112, 3),
    (5, 2, 192, 4),
    (3, 1, 320, 1),
)
SCALES = {
    "tf_efficientnet_lite0": (1.0, 1.0),
    "tf_efficientnet_lite1": (1.0, 1.1),
    "tf_efficientnet_lite2": (1.1, 1.2),
    "tf_efficientnet_lite3": (1.2, 1.4),
    "tf_efficientnet_lite4": (1.4, 1.8),
}
"""Architecture to how much wider and deeper than Lite0 it is."""
MEAN = STD = (0.5, 0.5, 0.5)
"""Statistics of the pixels (0..1) with which all of them were trained."""


class EfficientNetLite(nn.Module):
    """Images to a feature map a 32nd of their size, 1,280 channels.

    Batch norms are frozen, weights and statistics alike, in training too: they are part of what
    published weights bring, and a batch on one worker is too small to learn them anew.
    """

    def __init__(self, architecture: str, drop_path: float) -> None:
        """`architecture`: a key of SCALES; `drop_path`: of the last block, rising from 0."""
        super().__init__()
        wider, deeper = SCALES[architecture]
        self.conv_stem = SameConv2d(3, STEM_CHANNELS, 3, stride=2)
        self.bn1 = FrozenNorm(STEM_CHANNELS, nn.ReLU6())
        ends = (0, len(STAGES) - 1)  # the first and the last stage are not deepened
        depths = [
            blocks if number in ends else math.ceil(blocks * deeper)
            for number, (_, _, _, blocks) in enumerate(STAGES)
        ]
        rates = iter([drop_path * number / sum(depths) for number in range(sum(depths))])
        stages, channels = [], STEM_CHANNELS
        for (kernel, stride, width, _), depth in zip(STAGES, depths, strict=True):
            blocks = []
            for number in range(depth):
                block = DepthwiseBlock if not stages else InvertedResidual
                out = _whole_channels(width * wider)
                step = stride if number == 0 else 1
                blocks.append(block(channels, out, kernel, step, next(rates)))
                channels = out
            stages.append(nn.Sequential(*blocks))
        self.blocks = nn.Sequential(*stages)
        self.conv_head = SameConv2d(channels, HEAD_CHANNELS, 1)
        self.bn2 = FrozenNorm(HEAD_CHANNELS, nn.ReLU6())

    def forward_features(self, images_B3HW: Tensor) -> Tensor:
        """Return [B, 1280, H / 32, W / 32]; images normalised with MEAN and STD, sides 32 * n."""
        features = self.blocks(self.bn1(self.conv_stem(images_B3HW)))
        return self.bn2(self.conv_head(features))


class DepthwiseBlock(nn.Module):
    """A convolution of each channel, then one across channels."""

    def __init__(self, inside: int, out: int, kernel: int, stride: int, drop_path: float) -> None:
        super().__init__()
        self.conv_dw = SameConv2d(inside, inside, kernel, stride=stride, groups=inside)
        self.bn1 = FrozenNorm(inside, nn.ReLU6())
        self.conv_pw = SameConv2d(inside, out, 1)
        self.bn2 = FrozenNorm(out, nn.Identity())
        self.skips = stride == 1 and inside == out
        self.drop_path = DropPath(drop_path)

    def forward(self, features: Tensor) -> Tensor:
        made = self.bn2(self.conv_pw(self.bn1(self.conv_dw(features))))
        return self.drop_path(made) + features if self.skips else made


class InvertedResidual(nn.Module):
    """Widened six times, a convolution of each channel, narrowed again."""

    def __init__(self, inside: int, out: int, kernel: int, stride: int, drop_path: float) -> None:
        super().__init__()
        middle = EXPANSION * inside
        self.conv_pw = SameConv2d(inside, middle, 1)
        self.bn1 = FrozenNorm(middle, nn.ReLU6())
        self.conv_dw = SameConv2d(middle, middle, kernel, stride=stride, groups=middle)
        self.bn2 = FrozenNorm(middle, nn.ReLU6())
        self.conv_pwl = SameConv2d(middle, out, 1)
        self.bn3 = FrozenNorm(out, nn.Identity())
        self.skips = stride == 1 and inside == out
        self.drop_path = DropPath(drop_path)

    def forward(self, features: Tensor) -> Tensor:
        wide = self.bn2(self.conv_dw(self.bn1(self.conv_pw(features))))
        made = self.bn3(self.conv_pwl(wide))
        return self.drop_path(made) + features if self.skips else made


class SameConv2d(nn.Conv2d):
    """A convolution without bias whose map is the input's size over the stride, rounded up."""

    def __init__(
        self, inside: int, out: int, kernel: int, *, stride: int = 1, groups: int = 1
    ) -> None:
        even = (kernel - 1) // 2 if stride == 1 else 0  # else: `forward` pads, one side more
        super().__init__(inside, out, kernel, stride, even, groups=groups, bias=False)
        fan_out = kernel * kernel * out // groups
        nn.init.normal_(self.weight, std=math.sqrt(2 / fan_out))

    def forward(self, input: Tensor) -> Tensor:
        features = input  # torch's name
        if self.stride != (1, 1):
            lacking = [
                max((math.ceil(side / step) - 1) * step + kernel - side, 0)
                for side, step, kernel in zip(
                    features.shape[-1:-3:-1], self.stride[::-1], self.kernel_size[::-1], strict=True
                )
            ]
            sides = [part for one in lacking for part in (one // 2, one - one // 2)]
            features = F.pad(features, sides)
        return super().forward(features)


class FrozenNorm(nn.Module):
    """A batch norm that nothing changes, and its activation."""

    weight: Tensor
    bias: Tensor
    running_mean: Tensor
    running_var: Tensor

    def __init__(self, channels: int, act: nn.Module) -> None:
        super().__init__()
        self.eps = NORM_EPS
        self.act = act
        for name, value in (
            ("weight", 1.0),
            ("bias", 0.0),
            ("running_mean", 0.0),
            ("running_var", 1.0),
        ):
            self.register_buffer(name, torch.full((channels,), value))

    def forward(self, features: Tensor) -> Tensor:
        scale = self.weight * (self.running_var + self.eps).rsqrt()
        shift = self.bias - self.running_mean * scale
        return self.act(features * scale.view(1, -1, 1, 1) + shift.view(1, -1, 1, 1))


def _whole_channels(channels: float) -> int:
    """Return the next multiple of 8, but at least nine tenths of what was asked for."""
    rounded = max(8, int(channels + 4) // 8 * 8)
    return rounded + 8 if rounded < 0.9 * channels else rounded

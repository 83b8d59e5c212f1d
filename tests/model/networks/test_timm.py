"""Our encoders are timm's networks: the same weights fit, the same numbers come out."""

from typing import Any

import pytest
import timm
import torch
from timm.layers.norm_act import freeze_batch_norm_2d
from timm.models.swin_transformer import SwinTransformer

from ram_model import ConvConfig, SwinConfig
from ram_model.config import CONV_ARCHITECTURES
from ram_model.networks.drop_path import DropPath
from ram_model.networks.image_encoder import ConvEncoder, SwinEncoder

SWIN = SwinConfig(
    image_size_px=96, window_size=6, embed_dim=24, depths=(2, 2, 2, 1), num_heads=(2, 3, 4, 6)
)


def pixels(side: int) -> torch.Tensor:
    return torch.randn(2, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_swin_to_the_last_bit() -> None:
    torch.manual_seed(0)
    theirs = SwinTransformer(
        img_size=96, patch_size=4, window_size=6, embed_dim=24, depths=SWIN.depths,
        num_heads=SWIN.num_heads, num_classes=0, global_pool="",
    ).eval()  # fmt: skip
    for parameter in theirs.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    ours = SwinEncoder(SWIN).eval().swin
    ours.load_state_dict(theirs.state_dict())
    with torch.inference_mode():
        assert torch.equal(ours.forward_features(pixels(96)), theirs.forward_features(pixels(96)))


@pytest.mark.parametrize("architecture", CONV_ARCHITECTURES)
def test_efficientnet_lite(architecture: str) -> None:
    torch.manual_seed(0)
    network: Any = timm.create_model(architecture, num_classes=0, global_pool="")
    theirs: Any = freeze_batch_norm_2d(network)
    for name, buffer in theirs.named_buffers():
        if name.endswith(("running_var", "weight")):
            buffer.uniform_(0.8, 1.2)
        else:
            buffer.normal_(std=0.1)
    theirs = theirs.eval()
    config = ConvConfig(image_size_px=64, architecture=architecture)
    ours = ConvEncoder(config).eval().conv
    ours.load_state_dict(theirs.state_dict())
    with torch.inference_mode():
        assert torch.equal(ours.forward_features(pixels(64)), theirs.forward_features(pixels(64)))


def test_blocks_are_left_out_in_training_only_and_the_mean_stays() -> None:
    drop = DropPath(0.25)
    ones = torch.ones(4_000, 1, 2)
    torch.manual_seed(0)
    dropped = drop.train()(ones)
    assert dropped.unique().tolist() == [0.0, pytest.approx(4 / 3)]
    assert dropped.mean().item() == pytest.approx(1, abs=0.05)
    assert torch.equal(dropped[:, :, 0], dropped[:, :, 1])  # whole images
    assert drop.eval()(ones) is ones

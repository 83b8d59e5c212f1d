import pytest
import torch

from ram_model.config import swin_tiny_test
from ram_model.networks.image_encoder import SwinEncoder


@pytest.fixture(scope="module")
def encoder() -> SwinEncoder:
    torch.manual_seed(0)
    return SwinEncoder(swin_tiny_test()).eval()


def test_first_token_is_the_mean_of_the_others(encoder: SwinEncoder) -> None:
    with torch.inference_mode():
        tokens = encoder(torch.randn(2, 3, 128, 128))
    assert tokens.shape == (2, 17, 128)
    assert torch.allclose(tokens[:, 0], tokens[:, 1:].mean(1), atol=1e-6)


def test_tokens_are_in_row_order(encoder: SwinEncoder) -> None:
    """A change in the right upper corner moves the token of that corner most."""
    image = torch.zeros(1, 3, 128, 128)
    changed = image.clone()
    changed[:, :, :32, 96:] = 3.0
    with torch.inference_mode():
        difference = (encoder(changed) - encoder(image))[0, 1:].norm(dim=-1)
    assert difference.argmax().item() == 3


@pytest.mark.parametrize("shape", [(1, 3, 96, 128), (1, 1, 128, 128), (3, 128, 128)])
def test_another_shape_is_refused(encoder: SwinEncoder, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"must be \(B, 3, 128, 128\)"):
        encoder(torch.zeros(shape))


def test_only_shifted_blocks_have_masks_of_minus_100(encoder: SwinEncoder) -> None:
    masks = {name: mask for name, mask in encoder.named_buffers() if name.endswith("attn_mask")}
    # odd blocks, except in the last stage, where one window covers the grid
    assert sorted(masks) == [f"swin.layers.{stage}.blocks.1.attn_mask" for stage in range(3)]
    assert all(set(mask.unique().tolist()) == {-100.0, 0.0} for mask in masks.values())


def test_buffers_survive_a_build_on_the_meta_device(encoder: SwinEncoder) -> None:
    with torch.device("meta"):
        other = SwinEncoder(swin_tiny_test())
    other.load_state_dict(encoder.state_dict(), assign=True)
    other.rebuild_buffers()
    theirs = dict(other.named_buffers())
    assert len(theirs) == 11
    for name, buffer in encoder.named_buffers():
        assert torch.equal(buffer, theirs[name]), name

import pytest
import torch
from torch.nn import functional as F

from ram_model.config import variant
from ram_model.ram_plus import RamPlus


@pytest.fixture(scope="module")
def model() -> RamPlus:
    torch.manual_seed(0)
    return RamPlus(variant("tiny", kind="ram_plus", num_tags=6)).eval()


def test_queries_equal_the_loop_over_images_and_tags(model: RamPlus) -> None:
    tokens = torch.randn(3, 17, 512, generator=torch.Generator().manual_seed(1))
    scale = model.reweight_scale.exp()
    with torch.inference_mode():
        ours = model.label_queries(tokens)
        for image in range(3):
            direction = tokens[image, 0] / tokens[image, 0].norm()
            for tag in range(6):
                rows = model.label_embeddings[tag * 51 : (tag + 1) * 51]
                weights = (scale * (rows @ direction)).softmax(0)
                query = F.relu(model.label_projection(weights @ rows))
                assert torch.allclose(ours[image, tag], query, atol=1e-5)


def test_initial_temperature_is_that_of_clip(model: RamPlus) -> None:
    assert model.reweight_scale.exp().item() == pytest.approx(1 / 0.07)


def test_selected_tags_are_columns(model: RamPlus) -> None:
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    with torch.inference_mode():
        subset = model.select_tags([5, 1])
        difference = subset(images) - model(images)[:, [5, 1]]
    assert difference.abs().max() <= 1e-6
    assert subset.reweight_scale is model.reweight_scale


def test_queries_without_an_image_are_refused(model: RamPlus) -> None:
    with pytest.raises(ValueError, match="from image tokens"):
        model.label_queries()


def test_temperature_is_trained() -> None:
    torch.manual_seed(0)
    model = RamPlus(variant("tiny", kind="ram_plus", num_tags=6))
    model(torch.randn(1, 3, 128, 128)).sum().backward()
    assert model.reweight_scale.grad is not None
    assert model.reweight_scale.grad.abs() > 0
    assert model.label_embeddings.grad is None

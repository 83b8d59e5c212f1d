import pytest
import torch
from torch.nn import functional as F

from ram_model.config import variant
from ram_model.networks.ram_plus import RamPlus


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


def test_appended_tags_leave_the_others_as_they_are(model: RamPlus) -> None:
    images = torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))
    rows = F.normalize(torch.randn(80, 512, generator=torch.Generator().manual_seed(2)), dim=1)
    labels = [rows[:2], rows[2:65], rows[65:66]]  # fewer and more than the model's 51, and one
    with torch.inference_mode():
        extended = model.append_tags(labels)
        logits = extended(images)
        assert (logits[:, :6] - model(images)).abs().max() <= 1e-6
        for position, label in enumerate(labels):
            alone = model.select_tags([0]).append_tags([label])
            assert (alone(images)[:, 1] - logits[:, 6 + position]).abs().max() <= 1e-6
            queries = _loop_queries(model, alone.encode_images(images), label)
            ours = alone.label_queries(alone.encode_images(images))[:, 1]
            assert torch.allclose(ours, queries, atol=1e-5)
        # padding survives a further selection and a further append
        again = extended.select_tags([7, 2, 6]).append_tags([rows[:70]])
        assert (again(images)[:, :3] - logits[:, [7, 2, 6]]).abs().max() <= 1e-6
    assert extended.config.num_tags == 9
    assert extended.config.descriptions_per_tag == 63
    assert set(extended.state_dict()) == set(model.state_dict())


def _loop_queries(model: RamPlus, tokens: torch.Tensor, rows: torch.Tensor) -> torch.Tensor:
    queries = []
    for image in tokens[:, 0]:
        weights = (model.reweight_scale.exp() * (rows @ (image / image.norm()))).softmax(0)
        queries.append(F.relu(model.label_projection(weights @ rows)))
    return torch.stack(queries)


@pytest.mark.parametrize("shape", [(0, 512), (2, 64), (512,)])
def test_labels_of_another_shape_are_refused(model: RamPlus, shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="must hold"):
        model.append_tags([torch.ones(shape)])
    with pytest.raises(ValueError, match="labels is empty"):
        model.append_tags([])

from dataclasses import replace

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ram_model.config import Kind, variant
from ram_model.files.checkpoint import build_on_meta
from ram_model.networks.ram import Ram


@pytest.fixture(scope="module")
def model() -> Ram:
    torch.manual_seed(0)
    return Ram(variant("tiny")).eval()


@pytest.fixture(scope="module")
def images() -> torch.Tensor:
    return torch.randn(2, 3, 128, 128, generator=torch.Generator().manual_seed(1))


def test_given_queries_change_nothing(model: Ram, images: torch.Tensor) -> None:
    with torch.inference_mode():
        queries = model.label_queries()
        assert queries.shape == (1, 29, 64)
        assert queries.min() == 0  # after the ReLU
        assert torch.equal(model(images, queries), model(images))


def test_selected_tags_are_columns_and_share_weights(model: Ram, images: torch.Tensor) -> None:
    tag_ids = [7, 0, 28, 7]
    subset = model.select_tags(tag_ids)
    with torch.inference_mode():
        difference = subset(images) - model(images)[:, tag_ids]
    assert difference.abs().max() <= 1e-6
    assert subset.config.num_tags == 4
    assert subset.image_encoder is model.image_encoder
    assert model.config.num_tags == 29
    assert model.label_embeddings.shape == (29, 512)


@pytest.mark.parametrize("tag_ids", [[], [29], [-1, 3]])
def test_ids_outside_the_vocabulary_are_refused(model: Ram, tag_ids: list[int]) -> None:
    with pytest.raises(ValueError, match="must be ids from 0 to 28"):
        model.select_tags(tag_ids)


@pytest.mark.parametrize("train_labels", [True, False])
def test_gradients_reach_everything_but_frozen_labels(
    images: torch.Tensor, train_labels: bool
) -> None:
    torch.manual_seed(0)
    name = "mini" if train_labels else "tiny"
    model = Ram(variant(name, num_tags=5)).train()
    model(images).sum().backward()
    without = [name for name, p in model.named_parameters() if p.grad is None]
    assert without == ([] if train_labels else ["label_embeddings"])


def test_mini_stays_within_its_budget() -> None:
    model = build_on_meta(variant("mini", num_tags=450))
    num_parameters = sum(p.numel() for p in model.parameters())
    assert 2_000_000 <= num_parameters <= 12_000_000
    assert _flops_per_image(model, batch_size=16) <= 1e9


@pytest.mark.parametrize(("kind", "gmac"), [("ram", 162.195), ("ram_plus", 162.315)])
def test_official_size_costs_what_the_reference_does(kind: Kind, gmac: float) -> None:
    model = build_on_meta(variant("swin_l_384", kind=kind))
    # the reference repeats the first layer's query projection per image, as one image does here
    assert _flops_per_image(model, batch_size=1) / 2e9 == pytest.approx(gmac, rel=2e-3)


def test_appended_tags_leave_the_others_as_they_are(model: Ram, images: torch.Tensor) -> None:
    labels = [torch.nn.functional.normalize(torch.randn(1, 512)) for _ in range(2)]
    with torch.inference_mode():
        extended = model.append_tags(labels)
        logits = extended(images)
        assert (logits[:, :29] - model(images)).abs().max() <= 1e-6
        alone = model.select_tags([4]).append_tags(labels[1:])
        assert (alone(images) - logits[:, [4, 30]]).abs().max() <= 1e-6
    assert extended.config.num_tags == 31
    with pytest.raises(ValueError, match="2 rows for a tag, but RAM takes one"):
        model.append_tags([torch.ones(2, 512)])


@pytest.mark.parametrize("kind", ["ram", "ram_plus"])
def test_few_tags_cost_the_decoder_in_proportion(kind: Kind) -> None:
    config = variant("swin_l_384", kind=kind)
    whole = _flops_per_image(build_on_meta(config), batch_size=1)
    half = _flops_per_image(build_on_meta(replace(config, num_tags=2290)), batch_size=1)
    none = _flops_per_image(build_on_meta(replace(config, num_tags=1)), batch_size=1)
    assert (whole - half) / (whole - none) == pytest.approx(0.5, abs=0.01)
    assert (whole - none) / whole > 0.35  # the decoder's share


def _flops_per_image(model: Ram, *, batch_size: int) -> float:
    side = model.config.image_size_px
    images = torch.zeros(batch_size, 3, side, side, device="meta")
    with torch.no_grad(), FlopCounterMode(display=False) as counter:
        model.eval()(images)
    return counter.get_total_flops() / batch_size

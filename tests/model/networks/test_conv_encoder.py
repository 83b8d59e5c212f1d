"""A convolutional network of timm as the image encoder."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

from ram_model import ConvConfig, Ram, RamConfig, Tagger, Vocabulary, load_folder, save_folder
from ram_model.config import CaptionConfig, TagDecoderConfig, variant
from ram_model.files.costs import count_costs, total
from ram_model.files.resolution import change_resolution
from ram_model.folding import FoldedRam
from ram_model.networks.image_encoder import ConvEncoder, build_image_encoder
from ram_model.transforms import IMAGENET_MEAN, IMAGENET_STD

LITE0 = ConvConfig(image_size_px=64, architecture="tf_efficientnet_lite0")
DECODER = TagDecoderConfig(hidden_dim=64, num_heads=4, num_layers=2, intermediate_dim=64)


def lively_model() -> Ram:
    """Return a model whose batch norms do something."""
    torch.manual_seed(0)
    model = Ram(
        RamConfig(kind="ram", image_encoder=LITE0, tag_decoder=DECODER, num_tags=7, direct=True)
    )
    for name, buffer in model.image_encoder.named_buffers():
        if name.endswith(("running_var", ".weight")):
            buffer.uniform_(0.8, 1.2)
        elif name.endswith(("running_mean", ".bias")):
            buffer.normal_(std=0.1)
    torch.nn.init.normal_(model.classifier.get_parameter("weight"), std=0.3)
    return model.eval()


@pytest.fixture(scope="module")
def model() -> Ram:
    return lively_model()


def images(count: int = 2, side: int = 64) -> torch.Tensor:
    return torch.randn(count, 3, side, side, generator=torch.Generator().manual_seed(1))


def test_tokens_are_the_feature_map_row_by_row_after_their_mean(model: Ram) -> None:
    with torch.inference_mode():
        tokens = model.image_encoder(images())
    assert tokens.shape == (2, 1 + LITE0.num_tokens, LITE0.width)
    assert torch.allclose(tokens[:, 0], tokens[:, 1:].mean(1), atol=1e-6)
    with pytest.raises(ValueError, match=r"must be \(B, 3, 64, 64\)"):
        model.image_encoder(images(side=96))


def test_the_network_gets_its_own_statistics(model: Ram) -> None:
    encoder = model.image_encoder
    assert isinstance(encoder, ConvEncoder)
    pixels = torch.rand(1, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.inference_mode():
        own = encoder.conv.forward_features(pixels * 2 - 1)
        ours = encoder((pixels - mean) / std)
    assert torch.allclose(ours[:, 1:], own.flatten(2).transpose(1, 2), atol=1e-3)


def test_weights_of_timm_fit(model: Ram) -> None:
    network = timm.create_model(LITE0.architecture, num_classes=0)
    theirs = {n: t for n, t in network.state_dict().items() if "num_batches" not in n}
    encoder = build_image_encoder(LITE0)
    encoder.load_state_dict({f"conv.{name}": tensor for name, tensor in theirs.items()})
    assert set(encoder.state_dict()) == {f"conv.{name}" for name in theirs}


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float32, 5e-6), (torch.float64, 1e-12)])
def test_folded_scores_are_those_of_the_plain_model(dtype: torch.dtype, tolerance: float) -> None:
    model = lively_model().to(dtype)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = FoldedRam(model)
    with torch.inference_mode():
        plain = model(images().to(dtype)).sigmoid()
        difference = folded(images().to(dtype)).sigmoid() - plain
    assert difference.abs().max() <= tolerance
    assert plain.std() > 1e-3  # otherwise this test says little
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    assert not [n for n, _ in folded.named_buffers() if n.endswith("running_var")]


def test_a_change_of_a_norm_after_folding_is_noticed() -> None:
    model = lively_model()
    folded = FoldedRam(model)
    next(b for n, b in model.named_buffers() if n.endswith("running_mean")).add_(1)
    with pytest.raises(RuntimeError, match="fold the model again"):
        folded(images())


def test_norms_stay_as_they_are_in_training() -> None:
    model = lively_model().train()
    before = {name: buffer.clone() for name, buffer in model.named_buffers()}
    model(images()).sum().backward()
    assert all(torch.equal(buffer, before[name]) for name, buffer in model.named_buffers())
    stem = model.get_parameter("image_encoder.conv.conv_stem.weight")
    assert stem.grad is not None
    assert stem.grad.abs().sum() > 0


def test_folder_round_trip(model: Ram, tmp_path: Path) -> None:
    vocabulary = Vocabulary(names=tuple("abcdefg"), thresholds=np.full(7, 0.4, dtype=np.float32))
    save_folder(model, model.config, vocabulary, tmp_path)
    loaded = load_folder(tmp_path)
    assert loaded.config == model.config
    with torch.inference_mode():
        assert torch.equal(loaded.model(images()), model(images()))
    tagger = Tagger.load(tmp_path, score_floor=0.0)
    assert len(tagger(np.zeros((1, 64, 64, 3), np.uint8))[0]) == 7


def test_another_resolution_keeps_all_weights(model: Ram) -> None:
    larger = change_resolution(model, 96)
    assert larger.config.image_encoder == replace(LITE0, image_size_px=96)
    assert all(
        torch.equal(tensor, model.state_dict()[name])
        for name, tensor in larger.state_dict().items()
    )
    with torch.inference_mode():
        assert larger(images(side=96)).shape == (2, 7)
    with pytest.raises(ValueError, match=r"image_size_px is 100, but must be 32 \* n"):
        change_resolution(model, 100)


def test_costs_of_lite2() -> None:
    """Of 6.1 M parameters 1.3 are the class head's; .85 GFLOP at 192 px."""
    config = variant("mini_lite2")
    costs = count_costs(config)
    assert costs["image_encoder"].parameters == 4_752_976
    assert costs["image_encoder"].gflop == pytest.approx(0.845, abs=1e-3)
    assert total(costs).gflop > costs["image_encoder"].gflop


def test_the_direct_term_compares_each_query_with_the_whole_image(model: Ram) -> None:
    assert model.direct is not None
    with torch.inference_mode():
        tokens = model.encode_images(images())
        queries = model.label_queries()
        states = model.tag_decoder(queries, tokens)
        without = model.classifier(states).squeeze(-1)
        added = model.decode_tags(tokens, queries) - without
        expected = model.direct(tokens[:, 0]) @ queries[0].T / DECODER.hidden_dim**0.5
    assert torch.allclose(added, expected, atol=1e-6)
    chosen = model.select_tags([4, 2])
    with torch.inference_mode():
        logits = model(images())
        assert torch.allclose(chosen(images()), logits[:, [4, 2]], atol=1e-5)


def test_without_decoder_layers_the_direct_term_decides() -> None:
    decoder = replace(DECODER, num_layers=0)
    model = Ram(
        RamConfig(kind="ram", image_encoder=LITE0, tag_decoder=decoder, num_tags=7, direct=True)
    ).eval()
    assert model.direct is not None
    with torch.inference_mode():
        tokens, queries = model.encode_images(images()), model.label_queries()
        bias = model.classifier(queries).squeeze(-1)
        expected = model.direct(tokens[:, 0]) @ queries[0].T / DECODER.hidden_dim**0.5 + bias
        logits = model(images())
        assert torch.allclose(logits, expected, atol=1e-6)
        assert logits.shape == (2, 7)
        assert torch.allclose(FoldedRam(model)(images()), logits, atol=1e-5)
    assert count_costs(model.config)["tag_decoder"] == (0, 0.0)


def test_without_decoder_layers_captions_read_the_image(tmp_path: Path) -> None:
    config = RamConfig(
        kind="ram", image_encoder=LITE0, num_tags=2, direct=True,
        tag_decoder=replace(DECODER, num_layers=0),
        captions=CaptionConfig(
            num_heads=4, num_layers=1, intermediate_dim=64, vocab_size=30, num_positions=9
        ),
    )  # fmt: skip
    model = Ram(config).eval()
    pieces = torch.tensor([[29, 5, 6]])
    with torch.inference_mode():
        one, other = (
            model.encode_tag_text(pieces, pieces > 0, model.encode_images(image[None]))
            for image in images()
        )
    assert one.shape == (1, 3, 64)
    assert not torch.allclose(one, other)


def test_no_layers_and_no_direct_term_would_see_no_image() -> None:
    decoder = replace(DECODER, num_layers=0)
    with pytest.raises(ValueError, match="num_layers is 0, but must be at least 1 without the dir"):
        RamConfig(kind="ram", image_encoder=LITE0, tag_decoder=decoder, num_tags=7)
    with pytest.raises(ValueError, match="num_layers is -1, but must be at least 0"):
        replace(DECODER, num_layers=-1)


def test_wrong_settings_are_named() -> None:
    with pytest.raises(ValueError, match="architecture is 'resnet50', but must be one of tf_eff"):
        replace(LITE0, architecture="resnet50")
    with pytest.raises(ValueError, match=r"drop_path is 1\.0, but must be in 0\.\.1"):
        replace(LITE0, drop_path=1.0)

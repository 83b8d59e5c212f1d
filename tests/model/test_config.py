from dataclasses import FrozenInstanceError, replace

import pytest

from ram_model.config import (
    VARIANTS,
    CaptionConfig,
    Kind,
    RamConfig,
    SwinConfig,
    TagDecoderConfig,
    variant,
)


@pytest.mark.parametrize("name", VARIANTS)
@pytest.mark.parametrize("kind", ["ram", "ram_plus", "tag2text"])
def test_json_round_trip(name: str, kind: Kind) -> None:
    config = variant(name, kind=kind)
    assert RamConfig.from_json(config.to_json()) == config
    assert config.descriptions_per_tag == (51 if kind == "ram_plus" else 1)


def test_caption_side_in_json_and_without() -> None:
    config = replace(variant("swin_b_384", kind="tag2text"), captions=CaptionConfig())
    assert RamConfig.from_json(config.to_json()) == config
    assert config.num_tags == 3429
    assert (config.label_dim, config.token_dim) == (768, 1024)
    before_captions = variant("mini").to_json().replace(',\n  "captions": null', "")
    assert "captions" not in before_captions
    assert RamConfig.from_json(before_captions) == variant("mini")


@pytest.mark.parametrize(
    ("kind", "captions", "message"),
    [
        ("ram_plus", {}, "captions is .*, but must be None for kind 'ram_plus'"),
        ("ram", {"num_heads": 7}, "captions.num_heads is 7, but must be a divisor"),
        ("ram", {"num_layers": 1}, "with at least its 2 layers"),
        ("ram", {"intermediate_dim": 1024}, "of the tag decoder's intermediate_dim"),
        ("ram", {"vocab_size": 0}, "vocab_size is 0, but must be at least 1"),
    ],
)
def test_wrong_caption_sides_are_named(kind: Kind, captions: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        replace(variant("swin_l_384", kind=kind), captions=CaptionConfig(**captions))


@pytest.mark.parametrize(
    ("name", "width", "grids", "window"),
    [
        ("swin_l_384", 1536, (96, 48, 24, 12), 12),
        ("swin_b_384", 1024, (96, 48, 24, 12), 12),
        ("swin_l_224", 1536, (56, 28, 14, 7), 7),
        ("swin_b_224", 1024, (56, 28, 14, 7), 7),
        ("mini", 384, (32, 16, 8, 4), 4),
        ("tiny", 128, (32, 16, 8, 4), 4),
    ],
)
def test_variants_have_the_published_shapes(
    name: str, width: int, grids: tuple[int, ...], window: int
) -> None:
    encoder = variant(name).image_encoder
    assert isinstance(encoder, SwinConfig)
    assert encoder.width == width
    assert encoder.grid_sizes == grids
    assert encoder.window_size == window
    assert encoder.num_tokens == grids[-1] ** 2


def test_num_tags_of_a_variant_can_be_chosen() -> None:
    config = variant("mini", kind="ram_plus", num_tags=7)
    assert config.num_tags == 7
    assert config.num_label_rows == 7 * 51


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"image_size_px": 100}, "image_size_px is 100, but must be such that windows of 4"),
        ({"depths": (2, 2, 2)}, r"depths is \(2, 2, 2\), but must be four numbers"),
        ({"num_heads": (3, 2, 4, 8)}, "divisors of the channels .16 in stage 0."),
        ({"drop_path": 1.0}, "drop_path is 1.0"),
        ({"embed_dim": 0}, "embed_dim is 0, but must be at least 1"),
    ],
)
def test_wrong_encoder_settings_are_named(change: dict, message: str) -> None:
    encoder = variant("tiny").image_encoder
    with pytest.raises(ValueError, match=message):
        replace(encoder, **change)


def test_wrong_model_settings_are_named() -> None:
    with pytest.raises(ValueError, match="num_heads is 5, but must be a divisor of hidden_dim"):
        TagDecoderConfig(num_heads=5)
    with pytest.raises(ValueError, match="descriptions_per_tag is 2, but must be 1 for kind 'ram'"):
        replace(variant("tiny"), descriptions_per_tag=2)
    with pytest.raises(ValueError, match="kind is 'vit', but must be ram or ram_plus"):
        replace(variant("tiny"), kind="vit")
    with pytest.raises(ValueError, match="variant is 'swin_xl', but must be one of swin_l_384"):
        variant("swin_xl")


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"kind": "ram"}', '{"image_encoder": {}}'])
def test_text_that_is_no_configuration_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="not a model configuration"):
        RamConfig.from_json(text)


def test_unknown_fields_are_refused() -> None:
    text = variant("tiny").to_json().replace('"num_tags"', '"num_labels"')
    with pytest.raises(ValueError, match="num_labels"):
        RamConfig.from_json(text)


def test_configurations_are_frozen() -> None:
    encoder = variant("tiny").image_encoder
    with pytest.raises(FrozenInstanceError):
        encoder.image_size_px = 3  # type: ignore[misc]

import pytest
import torch

from ram_model.errors import CheckpointError
from ram_model.files.official_layout import our_name, to_our_layout

LAYER = "tagging_head.encoder.layer.1."


@pytest.mark.parametrize(
    ("official", "ours"),
    [
        (
            "visual_encoder.layers.0.downsample.norm.bias",
            "image_encoder.swin.layers.1.downsample.norm.bias",
        ),
        (
            "visual_encoder.layers.2.downsample.reduction.weight",
            "image_encoder.swin.layers.3.downsample.reduction.weight",
        ),
        (
            "visual_encoder.layers.2.blocks.17.attn.qkv.bias",
            "image_encoder.swin.layers.2.blocks.17.attn.qkv.bias",
        ),
        (LAYER + "crossattention.self.query.weight", "tag_decoder.layers.1.query.weight"),
        (LAYER + "crossattention.output.dense.bias", "tag_decoder.layers.1.attention_output.bias"),
        (LAYER + "output.dense.bias", "tag_decoder.layers.1.contract.bias"),
        (LAYER + "output.LayerNorm.weight", "tag_decoder.layers.1.output_norm.weight"),
        ("label_embed", "label_embeddings"),
        ("reweight_scale", "reweight_scale"),
        ("fc.bias", "classifier.bias"),
        ("visual_encoder.layers.1.blocks.1.attn_mask", None),
        ("tag_encoder.embeddings.position_ids", None),
        ("text_decoder.cls.predictions.bias", None),
    ],
)
def test_names(official: str, ours: str | None) -> None:
    assert our_name(official) == ours


@pytest.mark.parametrize(
    ("official", "ours"),
    [
        ("tag_encoder.embeddings.word_embeddings.weight", "tag_encoder.embeddings.pieces.weight"),
        (
            "tag_encoder.encoder.layer.0.attention.self.key.bias",
            "tag_encoder.layers.0.attention.key.bias",
        ),
        (
            "tag_encoder.encoder.layer.2.crossattention.output.LayerNorm.bias",
            "tag_encoder.layers.2.reading.attention_norm.bias",
        ),
        (
            "text_decoder.bert.encoder.layer.1.attention.output.LayerNorm.bias",
            "text_decoder.layers.1.attention.norm.bias",
        ),
        (
            "text_decoder.bert.encoder.layer.11.output.dense.bias",
            "text_decoder.layers.11.reading.contract.bias",
        ),
        ("text_decoder.cls.predictions.transform.dense.bias", "text_decoder.transform.bias"),
        ("text_decoder.cls.predictions.bias", "text_decoder.bias"),
        ("text_decoder.cls.predictions.decoder.bias", "text_decoder.bias"),
        ("text_decoder.cls.predictions.decoder.weight", "text_decoder.embeddings.pieces.weight"),
    ],
)
def test_names_of_the_caption_side(official: str, ours: str) -> None:
    assert our_name(official, captions=True) == f"caption_head.{ours}"
    assert our_name(official) is None


def test_shared_layers_are_the_tag_decoders() -> None:
    shared = "tag_encoder.encoder.layer.1.crossattention.self.key.bias"
    assert our_name(shared) == our_name(shared, captions=True) == "tag_decoder.layers.1.key.bias"


@pytest.mark.parametrize(
    ("official", "ours"),
    [
        ("label_embed.weight", "label_embeddings"),
        ("fc.W", "classifier.weight"),
        ("fc.b", "classifier.bias"),
    ],
)
def test_names_of_tag2text(official: str, ours: str) -> None:
    assert our_name(official) == ours


@pytest.mark.parametrize("name", ["head.weight", LAYER + "attention.self.query.weight"])
def test_unknown_names_are_refused_by_name(name: str) -> None:
    with pytest.raises(CheckpointError, match=name):
        our_name(name)


def test_old_name_of_the_tagging_head() -> None:
    key = "encoder.layer.0.intermediate.dense.bias"
    state = {"vision_multi." + key: torch.ones(2)}
    assert list(to_our_layout(state)) == ["tag_decoder.layers.0.expand.bias"]
    with pytest.raises(CheckpointError, match="under two names"):
        to_our_layout({**state, "tagging_head." + key: torch.ones(2)})


def test_tied_tensors_must_be_equal() -> None:
    key = "encoder.layer.0.output.dense.bias"
    state = {"tagging_head." + key: torch.ones(2), "tag_encoder." + key: torch.ones(2)}
    assert list(to_our_layout(state)) == ["tag_decoder.layers.0.contract.bias"]
    state["tag_encoder." + key] = torch.zeros(2)
    with pytest.raises(CheckpointError, match=f"'tag_encoder.{key}' and 'tagging_head.{key}'"):
        to_our_layout(state)

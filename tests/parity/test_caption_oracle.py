"""The caption side of RAM and Tag2Text, and Tag2Text's tags, against the official code."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from ram_model import CaptionOptions, Tagger, Vocabulary
from ram_model.captioning import PROMPT
from ram_model.config import CaptionConfig, Kind, variant
from ram_model.files.checkpoint import build_on_meta, load_official
from ram_model.files.official_layout import kept_name, our_name
from ram_model.networks.tag2text import THRESHOLD
from ram_model.networks.text_generation import generate
from ram_model.vocabulary import OFF
from ram_model.wordpiece import WordPieceTokenizer

FEATURES_TOLERANCE = 5e-6  # max abs difference / max abs reference
LOGITS_TOLERANCE = 2e-5  # max abs
LOSS_TOLERANCE = 5e-6  # relative


def test_tag2text_features_and_logits(
    tag2text_reference: dict[str, Any], oracle_images: Tensor
) -> None:
    model, config = load_official(tag2text_reference["path"])
    assert config.kind == "tag2text"
    assert model.caption_head is None
    parts = {
        "swin": model.image_encoder,
        "head_layer0": model.tag_decoder.layers[0],
        "head_layer1": model.tag_decoder.layers[1],
    }
    seen: dict[str, Tensor] = {}
    for name, part in parts.items():
        part.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out))

    with torch.inference_mode():
        logits = model(oracle_images)
        features = dict(seen)
        subset = model.select_tags([28, 3, 0])(oracle_images)

    for name, ours in features.items():
        theirs = tag2text_reference["inter"][name]
        error = (ours - theirs).abs().max() / theirs.abs().max()
        assert error <= FEATURES_TOLERANCE, name
    assert (logits - tag2text_reference["logits"]).abs().max() <= LOGITS_TOLERANCE
    expected = tag2text_reference["logits"][:, [28, 3, 0]]
    assert (subset - expected).abs().max() <= LOGITS_TOLERANCE


def test_language_model_loss(
    caption_reference: dict[str, Any],
    oracle_images: Tensor,
    oracle_captions: CaptionConfig,
    oracle_config: dict[str, Any],
    oracle_tokenizer: WordPieceTokenizer,
) -> None:
    model, _ = load_official(caption_reference["path"], captions=oracle_captions)
    step = caption_reference["train"]
    rows = step["parse_tag"].bool()
    texts = [" | ".join(oracle_config["tags"][i] for i in row.nonzero()) for row in rows]
    piece_ids, mask = oracle_tokenizer.encode_captions(step["caption"])

    with torch.inference_mode():
        tokens = model.encode_images(oracle_images[:2])
        memory = model.encode_tag_text(*oracle_tokenizer.encode_tags(texts), tokens)
        logits = model.require_caption_head().text_decoder(piece_ids, mask, memory)

    targets = piece_ids.masked_fill(~mask, -100)
    targets[:, :4] = -100
    loss = F.cross_entropy(
        logits[:, :-1].flatten(0, 1), targets[:, 1:].flatten(), label_smoothing=0.1
    )
    theirs = step["losses"]["loss_t2t"]
    assert abs(loss.item() / theirs - 1) <= LOSS_TOLERANCE


def test_reading_piece_by_piece_equals_reading_at_once(
    caption_reference: dict[str, Any],
    oracle_images: Tensor,
    oracle_captions: CaptionConfig,
    oracle_tokenizer: WordPieceTokenizer,
) -> None:
    model, _ = load_official(caption_reference["path"], captions=oracle_captions)
    decoder = model.require_caption_head().text_decoder
    piece_ids, mask = oracle_tokenizer.encode_captions(["a dog by the sea and a very red car"])

    with torch.inference_mode():
        tokens = model.encode_images(oracle_images[:1])
        memory = model.encode_tag_text(*oracle_tokenizer.encode_tags(["dog | sea"]), tokens)
        at_once = decoder(piece_ids, mask, memory)[0]
        logits, state = decoder.extend(piece_ids[:, :4], decoder.start(memory))
        by_piece = [logits]
        for position in range(4, piece_ids.shape[1]):
            logits, state = decoder.extend(piece_ids[:, position : position + 1], state)
            by_piece.append(logits)

    assert len(by_piece) > 5
    assert (torch.cat(by_piece) - at_once[3:]).abs().max() <= LOGITS_TOLERANCE


@pytest.fixture(scope="module")
def tag2text_parts(
    tag2text_reference: dict[str, Any],
    oracle_captions: CaptionConfig,
    oracle_config: dict[str, Any],
    oracle_tokenizer: WordPieceTokenizer,
) -> dict[str, Any]:
    """Model, vocabulary and tokenizer, as keywords of `Tagger`."""
    model, _ = load_official(tag2text_reference["path"], captions=oracle_captions)
    thresholds = tag2text_reference["class_threshold"].numpy().copy()
    special = {int(tag_id): x for tag_id, x in oracle_config["tag2text_special_thr"].items()}
    assert np.allclose(thresholds, [special.get(i, THRESHOLD) for i in range(len(thresholds))])
    thresholds[tag2text_reference["kwargs"]["delete_tag_index"]] = OFF
    vocabulary = Vocabulary(names=tuple(oracle_config["tags"]), thresholds=thresholds)
    return {"model": model, "vocabulary": vocabulary, "tokenizer": oracle_tokenizer}


DECODINGS = ("beam3_max50", "beam3_max30", "greedy_max30", "beam3_rep1.5", "beam5_min20")


def _options(generated: dict[str, Any]) -> CaptionOptions:
    return CaptionOptions(**{"max_length": 30, **generated["kwargs"]})


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("images_at_once", [1, 3])
def test_piece_ids_of_every_decoding(
    tag2text_parts: dict[str, Any],
    tag2text_reference: dict[str, Any],
    oracle_images: Tensor,
    decoding: str,
    images_at_once: int,
) -> None:
    assert set(DECODINGS) == set(tag2text_reference["generate"])
    generated = tag2text_reference["generate"][decoding]
    model, tokenizer = tag2text_parts["model"], tag2text_parts["tokenizer"]
    decoder = model.require_caption_head().text_decoder

    written = []
    with torch.inference_mode():
        for start in range(0, 3, images_at_once):
            here = slice(start, start + images_at_once)
            tokens = model.encode_images(oracle_images[here])
            texts = [theirs["tags"] for theirs in generated["per_image"][here]]
            memory = model.encode_tag_text(*tokenizer.encode_tags(texts), tokens)
            prompt = tokenizer.encode_prompt(PROMPT)
            end = tokenizer.end_id
            written += generate(decoder, memory, prompt, _options(generated), end_id=end)

    assert written == [theirs["ids"].tolist() for theirs in generated["per_image"]]
    captions = [tokenizer.decode(piece_ids)[len(PROMPT) :] for piece_ids in written]
    assert captions == [theirs["caption"] for theirs in generated["per_image"]]


@pytest.mark.parametrize("decoding", DECODINGS)
@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_tags_and_captions_from_raw_images(
    tag2text_parts: dict[str, Any],
    tag2text_reference: dict[str, Any],
    tag2text_pixels: np.ndarray,
    decoding: str,
    batch_size: int,
) -> None:
    generated = tag2text_reference["generate"][decoding]
    options = _options(generated)
    tagger = Tagger(**tag2text_parts, batch_size=batch_size, captions=options)
    pixels = tag2text_pixels

    found = [tags for i in range(0, 3, batch_size) for tags in tagger(pixels[i : i + batch_size])]

    ascending = [sorted(tags.tag_ids.tolist()) for tags in found]
    names = tagger.vocabulary.names
    assert [" | ".join(names[i] for i in ids) for ids in ascending] == tag2text_reference["tags"]
    assert [tags.caption for tags in found] == generated["batched_captions"]


def test_caption_of_given_tags(
    tag2text_parts: dict[str, Any],
    tag2text_reference: dict[str, Any],
    tag2text_pixels: np.ndarray,
) -> None:
    theirs = tag2text_reference["specified_tags"]
    tagger = Tagger(**tag2text_parts, batch_size=2, captions=CaptionOptions())
    words = theirs["input"].split(",")

    guided, free = tagger(tag2text_pixels[:2], caption_tags=[words, None])

    assert guided.caption == theirs["out"]["caption"]
    assert free.caption == tag2text_reference["captions_beam3"][1]
    names = tagger.vocabulary.names
    predicted = " | ".join(names[i] for i in sorted(guided.tag_ids))
    assert predicted == theirs["out"]["predicted_tags"]


def test_caption_is_guided_by_all_tags_above_their_thresholds(
    tag2text_parts: dict[str, Any],
    tag2text_reference: dict[str, Any],
    tag2text_pixels: np.ndarray,
) -> None:
    few = Tagger(**tag2text_parts, batch_size=3, captions=CaptionOptions(), top_k=1)
    many = Tagger(**tag2text_parts, batch_size=3, captions=CaptionOptions(), score_floor=0.1)

    for tagger, size in ((few, 1), (many, 10)):
        found = tagger(tag2text_pixels)
        assert (len(found[0]) > 5) == (size > 5)
        assert [tags.caption for tags in found] == tag2text_reference["captions_beam3"]


@pytest.mark.parametrize("kind", ["ram", "tag2text"])
def test_official_size_has_exactly_the_official_keys_and_shapes(kind: Kind, oracle: Path) -> None:
    listing = (oracle / f"state_dict_{kind}.json").read_text(encoding="utf-8")
    theirs = json.loads(listing)
    backbone = {"ram": "swin_l_384", "tag2text": "swin_b_384"}[kind]
    config = replace(variant(backbone, kind=kind), captions=CaptionConfig())
    model = build_on_meta(config)

    names = {name: our_name(name, captions=True) for name in theirs}
    kept = {ours: theirs[name]["shape"] for name, ours in names.items() if ours}

    assert kept == {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    tied = {name: spec["tied_to"] for name, spec in theirs.items() if spec["tied_to"]}
    assert len(tied) == 34
    assert all(kept_name(name) == kept_name(other) for name, other in tied.items())
    dropped = {name for name, ours in names.items() if ours is None}
    assert dropped == {name for name, spec in theirs.items() if spec["kind"] == "buffer"}
    assert len(theirs) == {"ram": 1042, "tag2text": 1038}[kind]
    num_parameters = sum(p.numel() for p in model.parameters())
    assert num_parameters == {"ram": 469_148_785, "tag2text": 372_007_193}[kind]


def test_tagging_size_of_tag2text() -> None:
    model = build_on_meta(variant("swin_b_384", kind="tag2text"))
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 1) == 107.1

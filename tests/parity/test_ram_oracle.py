"""RAM and RAM++ against the official code; tolerances are those of the oracle's README."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor

from ram_model import Tagger, Vocabulary
from ram_model.config import OPEN_SET_THRESHOLD, variant
from ram_model.files.checkpoint import build_on_meta, load_official
from ram_model.files.official_layout import CAPTION_PREFIXES, DEAD_BUFFERS, kept_name, our_name
from ram_model.folding import FoldedRam
from ram_model.networks.ram import Ram
from ram_model.transforms import resize_for_inference, to_rgb
from ram_model.words.open_set import add_labels

FEATURES_TOLERANCE = 5e-6  # max abs difference / max abs reference
LOGITS_TOLERANCE = 2e-5  # max abs


def _assert_close(name: str, ours: Tensor, theirs: Tensor) -> None:
    assert ours.shape == theirs.shape, name
    error = ((ours - theirs).abs().max() / theirs.abs().max()).item()
    assert error <= FEATURES_TOLERANCE, f"{name}: {error:.1e}"


def _record(model: Ram, images: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
    """Return logits, and the stages of the forward pass under the oracle's names."""
    swin: Any = model.image_encoder.swin
    stages = swin.layers
    parts = {
        "patch_embed": swin.patch_embed,
        "swin_stage0": stages[1].get_submodule("downsample"),
        "swin_stage1": stages[2].get_submodule("downsample"),
        "swin_stage2": stages[3].get_submodule("downsample"),
        "swin_stage3": stages[3],
        "swin": model.image_encoder,
        "image_embeds": model.image_projection,
        "wordvec": model.label_projection,
        "head_layer0": model.tag_decoder.layers[0],
        "head_layer1": model.tag_decoder.layers[1],
    }
    seen: dict[str, Tensor] = {}
    for name, part in parts.items():
        part.register_forward_hook(lambda _m, _i, out, name=name: seen.__setitem__(name, out))
    with torch.inference_mode():
        logits = model(images)
    return logits, seen


def test_every_intermediate_and_logits(reference: dict[str, Any], oracle_images: Tensor) -> None:
    model, _ = load_official(reference["path"])

    logits, seen = _record(model, oracle_images)

    assert set(reference["inter"]) == set(seen)
    for name, theirs in reference["inter"].items():
        ours = seen[name]
        if name == "patch_embed" or name.startswith("swin_stage"):
            ours = ours[:1].flatten(1, 2)  # the oracle keeps image 0, tokens in row order
        _assert_close(name, ours, theirs)
    assert (logits - reference["logits"]).abs().max() <= LOGITS_TOLERANCE


def test_subset_of_tags_equals_columns(reference: dict[str, Any], oracle_images: Tensor) -> None:
    model, _ = load_official(reference["path"])
    tag_ids = [28, 3, 0, 17]

    with torch.inference_mode():
        logits = model.select_tags(tag_ids)(oracle_images)

    assert (logits - reference["logits"][:, tag_ids]).abs().max() <= LOGITS_TOLERANCE


def test_open_set_alone_and_among_known_tags(
    reference: dict[str, Any], oracle_images: Tensor
) -> None:
    model, _ = load_official(reference["path"])
    theirs = reference["openset"]
    words = theirs["categories"]
    rows = theirs["label_embed"].unflatten(0, (len(words), -1))
    labels = dict(zip(words, rows, strict=True))

    with torch.inference_mode():
        alone = add_labels(model, [], labels)(oracle_images)
        mixed = add_labels(model, [3, 28], labels)(oracle_images)

    assert (alone - theirs["logits"]).abs().max() <= LOGITS_TOLERANCE
    assert (mixed[:, 2:] - theirs["logits"]).abs().max() <= LOGITS_TOLERANCE
    assert (mixed[:, :2] - reference["logits"][:, [3, 28]]).abs().max() <= LOGITS_TOLERANCE


def test_open_set_tags_from_raw_images(reference: dict[str, Any]) -> None:
    model, config = load_official(reference["path"])
    theirs = reference["openset"]
    words = theirs["categories"]
    rows = theirs["label_embed"].unflatten(0, (len(words), -1))
    known = Vocabulary(
        names=tuple(f"known {i}" for i in range(config.num_tags)),
        thresholds=np.full(config.num_tags, 0.9),
    )
    labels = dict(zip(words, rows, strict=True))
    tagger = Tagger(model, known, tags=words, new_labels=labels)
    assert theirs["threshold"] == OPEN_SET_THRESHOLD

    found = tagger(_pixels(reference))

    ascending = [sorted(tags.tag_ids.tolist()) for tags in found]
    assert min(map(min, filter(None, ascending)), default=config.num_tags) >= config.num_tags
    assert [_join(tagger.vocabulary.names, ids) for ids in ascending] == theirs["tags"]


@pytest.mark.parametrize("batch_size", [1, 3, 4])
def test_tags_from_raw_images(
    reference: dict[str, Any], oracle_config: dict[str, Any], batch_size: int
) -> None:
    model, _ = load_official(reference["path"])
    vocabulary = Vocabulary(
        names=tuple(oracle_config["tags"]),
        names_zh=tuple(oracle_config["tags_zh"]),
        thresholds=np.array(oracle_config["thresholds"], dtype=np.float32),
    )
    assert np.array_equal(vocabulary.thresholds, reference["class_threshold"].numpy())
    tagger = Tagger(model, vocabulary, batch_size=batch_size)
    pixels = _pixels(reference)

    found = [tags for i in range(0, 3, batch_size) for tags in tagger(pixels[i : i + batch_size])]

    # the reference prints tags in ascending id, ours come by falling score
    ascending = [sorted(tags.tag_ids.tolist()) for tags in found]
    assert [_join(vocabulary.names, ids) for ids in ascending] == reference["tags"]
    assert [_join(vocabulary.names_zh, ids) for ids in ascending] == reference["tags_zh"]
    for tags, logits in zip(found, reference["logits"], strict=True):
        expected = torch.sigmoid(logits)[torch.from_numpy(tags.tag_ids).long()]
        assert np.allclose(tags.scores, expected.numpy(), rtol=0, atol=1e-5)


def test_bf16_stays_near_and_keeps_the_tags(
    reference: dict[str, Any], oracle_images: Tensor
) -> None:
    model, _ = load_official(reference["path"])

    with torch.inference_mode():
        logits = model.to(torch.bfloat16)(oracle_images.to(torch.bfloat16)).float()

    error = (logits - reference["logits"]).abs()
    # stricter arithmetic than the oracle's autocast row, hence twice its tolerance
    assert error.max() <= 0.4
    assert error.mean() <= 0.1


def test_position_indices_and_masks_equal_the_dropped_buffers(reference: dict[str, Any]) -> None:
    model, _ = load_official(reference["path"])
    theirs = torch.load(reference["path"], weights_only=True)["model"]
    checked = 0
    swin: Any = model.image_encoder.swin
    for name, expected in theirs.items():
        if name.startswith("visual_encoder.") and name.endswith(DEAD_BUFFERS):
            path = name.removeprefix("visual_encoder.")
            assert torch.equal(swin.get_buffer(path), expected), name
            checked += 1
    assert checked == 8 + 3
    masks = [b for n, b in swin.named_buffers() if n.endswith(".attn_mask")]
    assert len(masks) == 3


def test_preprocessing_is_bit_exact(oracle: Path) -> None:
    cases = torch.load(oracle / "preprocess.pt", weights_only=True)
    assert len(cases) == 16
    tagger = Tagger.load()
    for name, case in cases.items():
        pixels = resize_for_inference(Image.fromarray(case["rgb_u8"].numpy()), 64)
        ours = tagger._network.normalise(pixels[None])[0]
        assert (ours - case["out"]).abs().max() <= 1e-6, name


@pytest.mark.parametrize("kind", ["ram", "ram_plus"])
def test_official_size_has_exactly_the_official_keys_and_shapes(kind: str, oracle: Path) -> None:
    listing = (oracle / f"state_dict_{kind}.json").read_text(encoding="utf-8")
    theirs = json.loads(listing)
    model = build_on_meta(variant("swin_l_384", kind="ram" if kind == "ram" else "ram_plus"))

    kept = {our_name(name): spec["shape"] for name, spec in theirs.items() if our_name(name)}
    dropped = [name for name in theirs if our_name(name) is None]

    assert kept == {name: list(tensor.shape) for name, tensor in model.state_dict().items()}
    twins = [name for name in theirs if kept_name(name) != name and our_name(name)]
    assert len(twins) == {"ram": 32, "ram_plus": 0}[kind]
    total = len(kept) + len(twins) + len(dropped)
    assert total == len(theirs) == {"ram": 1042, "ram_plus": 402}[kind]
    for name in dropped:
        assert name.startswith(CAPTION_PREFIXES) or theirs[name]["kind"] == "buffer", name
    num_parameters = sum(p.numel() for p in model.parameters())
    assert num_parameters == {"ram": 212_117_045, "ram_plus": 329_493_046}[kind]


def _pixels(reference: dict[str, Any]) -> np.ndarray:
    images = (to_rgb(Image.fromarray(raw.numpy())) for raw in reference["raw_images"])
    return np.stack([resize_for_inference(image, 128) for image in images])


def _join(names: tuple[str, ...], tag_ids: list[int]) -> str:
    return " | ".join(names[tag_id] for tag_id in tag_ids)


def test_folded_model_gives_the_reference_logits(
    reference: dict[str, Any], oracle_images: Tensor
) -> None:
    model, _ = load_official(reference["path"])

    with torch.inference_mode():
        plain, folded = model(oracle_images), FoldedRam(model)(oracle_images)

    assert (folded - reference["logits"]).abs().max() <= LOGITS_TOLERANCE
    assert (folded.sigmoid() - plain.sigmoid()).abs().max() <= 5e-6

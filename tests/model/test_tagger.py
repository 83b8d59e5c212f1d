from copy import deepcopy
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from ram_model.config import SwinConfig, TagDecoderConfig, variant
from ram_model.errors import ModelOutputError, UnknownTagError
from ram_model.networks.ram import Ram
from ram_model.networks.ram_plus import RamPlus
from ram_model.tagger import Precision, Tagger, Tags
from ram_model.transforms import IMAGENET_MEAN, IMAGENET_STD
from ram_model.vocabulary import Vocabulary

NUM_TAGS = 8
NAMES = tuple("ant bee cat dog elk fox gnu hen".split())
VOCABULARY = Vocabulary(names=NAMES, thresholds=np.full(NUM_TAGS, 0.5))


def _model(kind: str = "ram") -> Ram:
    """A tiny model whose scores spread over 0..1."""
    torch.manual_seed(3)
    if kind == "ram_plus":
        model: Ram = RamPlus(variant("tiny", kind="ram_plus", num_tags=NUM_TAGS))
    else:
        model = Ram(variant("tiny", num_tags=NUM_TAGS))
    for parameter in model.tag_decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    return model.eval()


def _images(count: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (count, 128, 128, 3), dtype=np.uint8)


def _dense(tags: Tags) -> np.ndarray:
    scores = np.full(NUM_TAGS, -1.0, dtype=np.float32)
    scores[tags.tag_ids] = tags.scores
    return scores


@pytest.fixture(scope="module")
def tagger() -> Tagger:
    return Tagger(_model(), VOCABULARY, batch_size=4, score_floor=0.0)


def test_scores_are_those_of_the_model_on_normalised_pixels(tagger: Tagger) -> None:
    images = _images(2)
    mean, std = np.array(IMAGENET_MEAN), np.array(IMAGENET_STD)
    normalised = ((images / 255 - mean) / std).transpose(0, 3, 1, 2).astype(np.float32)
    with torch.inference_mode():
        expected = torch.sigmoid(_model()(torch.from_numpy(normalised))).numpy()
    found = np.stack([_dense(tags) for tags in tagger(images)])
    assert np.abs(found - expected).max() <= 1e-5
    assert expected.std() > 0.02  # otherwise this test says little


@pytest.mark.parametrize("kind", ["ram", "ram_plus"])
def test_scores_do_not_depend_on_the_batch(kind: str) -> None:
    tagger = Tagger(_model(kind), VOCABULARY, batch_size=4, score_floor=0.0)
    images = _images(7)
    alone = np.stack([_dense(tagger(image[None])[0]) for image in images])
    for order in ([0, 1, 2, 3], [3, 2], [6, 0, 5], [4, 4, 4, 1]):
        together = np.stack([_dense(tags) for tags in tagger(images[order])])
        assert np.abs(together - alone[order]).max() <= 1e-5
        assert [tags.names for tags in tagger(images[order])] == [
            tagger(images[i : i + 1])[0].names for i in order
        ]


def test_neighbours_change_no_bit_of_a_slot(tagger: Tagger) -> None:
    images, others = _images(4), _images(4, seed=9)
    others[2] = images[2]
    first, second = tagger(images)[2], tagger(others)[2]
    assert first.tag_ids.tolist() == second.tag_ids.tolist()
    assert first.scores.tobytes() == second.scores.tobytes()


def test_any_number_of_images_is_described_by_scores_and_features(tagger: Tagger) -> None:
    images = _images(6)  # more than a batch
    scores, features = tagger.describe(images)
    found = np.stack([_dense(tags) for part in (images[:3], images[3:]) for tags in tagger(part)])
    assert np.abs(scores - found).max() <= 1e-5
    assert features.shape == (6, tagger.describe(images[:0])[1].shape[1])
    alone = tagger.describe(images[5:])[1]
    assert np.abs(features[5] - alone[0]).max() <= 1e-5


def test_empty_batch_and_wrong_batches(tagger: Tagger) -> None:
    assert tagger(_images(0)) == []
    with pytest.raises(ValueError, match="holds 5, but must hold at most 4"):
        tagger(_images(5))
    with pytest.raises(ValueError, match=r"must be uint8 \(n, 128, 128, 3\)"):
        tagger(_images(1).astype(np.float32))
    with pytest.raises(ValueError, match=r"uint8 \(1, 64, 128, 3\)"):
        tagger(_images(1)[:, :64])


def test_files_images_and_arrays_agree(tagger: Tagger, tmp_path: Path) -> None:
    image = Image.fromarray(np.kron(_images(1)[0, ::4, ::4], np.ones((9, 5, 1), np.uint8)))
    image.save(tmp_path / "x.png")
    pixels = np.array(image.resize((128, 128), Image.Resampling.BILINEAR))
    expected = _dense(tagger(pixels[None])[0])
    assert np.abs(_dense(tagger.tag_image(image)) - expected).max() <= 1e-5
    assert np.abs(_dense(tagger.tag_file(tmp_path / "x.png")) - expected).max() <= 1e-5
    (tmp_path / "y.png").write_bytes(b"no image")
    with pytest.raises(OSError, match="cannot identify image"):
        tagger.tag_file(tmp_path / "y.png")


@pytest.mark.parametrize("kind", ["ram", "ram_plus"])
def test_selected_tags_keep_their_ids_and_scores(kind: str) -> None:
    full = Tagger(_model(kind), VOCABULARY, score_floor=0.0)
    few = Tagger(_model(kind), VOCABULARY, score_floor=0.0, tags=["gnu", "bee"])
    images = _images(2)
    for all_tags, tags in zip(full(images), few(images), strict=True):
        assert sorted(tags.tag_ids.tolist()) == [1, 6]
        assert sorted(tags.names) == ["bee", "gnu"]
        assert np.abs(_dense(tags)[[1, 6]] - _dense(all_tags)[[1, 6]]).max() <= 1e-5


def test_thresholds_one_for_all_or_one_each() -> None:
    vocabulary = replace(VOCABULARY, thresholds=np.array([1.0] + [0.5] * 7))
    images = _images(1)
    (everything,) = Tagger(_model(), vocabulary, threshold=0.0)(images)
    assert sorted(everything.tag_ids.tolist()) == [1, 2, 3, 4, 5, 6, 7]  # 0 stays switched off
    each = [0.0] + [1.0] * 6 + [0.0]
    (own,) = Tagger(_model(), vocabulary, threshold=each)(images)
    assert sorted(own.tag_ids.tolist()) == [0, 7]
    (chosen,) = Tagger(_model(), vocabulary, threshold=each, tags=["hen", "cat"])(images)
    assert chosen.tag_ids.tolist() == [7]


@pytest.mark.parametrize("kind", ["ram", "ram_plus"])
def test_bf16_agrees_with_fp32(kind: str) -> None:
    full = Tagger(_model(kind), VOCABULARY, batch_size=4, score_floor=0.0)
    half = Tagger(_model(kind), VOCABULARY, batch_size=4, score_floor=0.0, precision="bf16")
    images = _images(4)
    for ours, exact in zip(half(images), full(images), strict=True):
        assert ours.scores.dtype == np.float32
        assert 0 < np.abs(_dense(ours) - _dense(exact)).max() <= 0.03


@pytest.mark.parametrize("kind", ["ram", "ram_plus"])
def test_network_is_captured_whole(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """What `compile` hands to the compiler is one graph; only the code it makes is left out."""
    monkeypatch.setattr(torch, "compile", partial(torch.compile, fullgraph=True, backend="eager"))
    images = _images(3)
    captured = Tagger(_model(kind), VOCABULARY, batch_size=3, score_floor=0.0, compile=True)
    plain = Tagger(_model(kind), VOCABULARY, batch_size=3, score_floor=0.0)
    for ours, theirs in zip(captured(images), plain(images), strict=True):
        assert np.abs(_dense(ours) - _dense(theirs)).max() <= 1e-6


@pytest.mark.proof  # compiling takes a minute or more
@pytest.mark.parametrize(("precision", "tolerance"), [("fp32", 1e-5), ("bf16", 0.03)])
def test_compiled_agrees_with_plain_fp32(precision: Precision, tolerance: float) -> None:
    small = SwinConfig(
        image_size_px=32, window_size=2, embed_dim=8, depths=(2, 1, 1, 1), num_heads=(1, 1, 1, 1)
    )
    decoder = TagDecoderConfig(hidden_dim=16, num_heads=2, num_layers=1, intermediate_dim=16)
    config = replace(
        variant("tiny", num_tags=NUM_TAGS), image_encoder=small, tag_decoder=decoder, label_dim=8
    )
    torch.manual_seed(3)
    model = Ram(config)
    torch.nn.init.normal_(model.classifier.weight, std=0.5)
    images = _images(3)[:, :32, :32]
    plain = Tagger(deepcopy(model), VOCABULARY, batch_size=4, score_floor=0.0)(images)
    compiled = Tagger(
        model, VOCABULARY, batch_size=4, score_floor=0.0, precision=precision, compile=True
    )
    for ours, exact in zip(compiled(images), plain, strict=True):
        assert np.abs(_dense(ours) - _dense(exact)).max() <= tolerance


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"threshold": 1.2}, "threshold is 1.2, but must be between 0 and 1"),
        ({"threshold": [0.5, 0.5]}, "threshold holds 2 numbers, but must hold 8"),
        ({"top_k": 0}, "top_k is 0"),
        ({"score_floor": -0.1}, "score_floor is -0.1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"precision": "int8"}, "precision is 'int8', but must be fp32 or bf16"),
        ({"device": "tpu"}, "device is 'tpu', but must be cpu, cuda or cuda:N"),
        ({"device": "cuda:77"}, "device is 'cuda:77', but this machine has"),
        ({"tags": []}, "tags is empty"),
    ],
)
def test_wrong_options_are_named(options: dict, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Tagger(_model(), VOCABULARY, **options)


def test_unknown_tags_are_listed() -> None:
    with pytest.raises(UnknownTagError, match="'yak', 'bees'"):
        Tagger(_model(), VOCABULARY, tags=["yak", "Bee", "bees"])


def test_model_and_vocabulary_must_agree() -> None:
    short = Vocabulary(names=("ant",), thresholds=np.array([0.5]))
    with pytest.raises(ValueError, match="holds 1 tags, but must hold the 8"):
        Tagger(_model(), short)


def test_broken_weights_are_an_error_not_an_empty_row() -> None:
    model = _model()
    torch.nn.init.constant_(model.classifier.bias, float("nan"))
    with pytest.raises(ModelOutputError, match="not finite"):
        Tagger(model, VOCABULARY)(_images(1))


def test_facts_about_the_model(tagger: Tagger) -> None:
    assert (tagger.image_size_px, tagger.batch_size, tagger.precision) == (128, 4, "fp32")
    assert tagger.num_parameters == sum(p.numel() for p in _model().parameters())
    assert tagger.vocabulary_sha256 == VOCABULARY.sha256
    assert tagger.thresholds_sha256 == VOCABULARY.thresholds_sha256
    assert (tagger.model_id, tagger.weights_sha256, tagger.is_random) == ("custom", None, False)

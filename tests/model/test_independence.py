"""Scores depend on nothing but the image and the tag: not on the batch, not on other tags."""

from functools import cache

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from ram_model.config import Kind, RamConfig, SwinConfig, TagDecoderConfig
from ram_model.networks.ram import Ram
from ram_model.networks.ram_plus import RamPlus
from ram_model.networks.tag2text import Tag2Text
from ram_model.tagger import Tagger, Tags
from ram_model.vocabulary import Vocabulary

NUM_TAGS, NUM_IMAGES, SIDE = 12, 6, 64
SCORE_TOLERANCE = 1e-5  # in float32, and equal ids but where a score is as near its threshold
CLASSES: dict[Kind, type[Ram]] = {"ram": Ram, "ram_plus": RamPlus, "tag2text": Tag2Text}
KINDS = st.sampled_from(list(CLASSES))

VOCABULARY = Vocabulary(
    names=tuple(f"tag {i}" for i in range(NUM_TAGS)),
    thresholds=np.linspace(0.2, 0.8, NUM_TAGS),
)


@cache
def _model(kind: Kind) -> Ram:
    """A model of 64 px with the topology of the large ones and scores all over 0..1."""
    torch.manual_seed(0)
    config = RamConfig(
        kind=kind,
        image_encoder=SwinConfig(
            image_size_px=SIDE,
            window_size=2,
            embed_dim=8,
            depths=(2, 1, 1, 1),
            num_heads=(1, 1, 1, 1),
        ),
        tag_decoder=TagDecoderConfig(hidden_dim=16, num_heads=2, intermediate_dim=32),
        num_tags=NUM_TAGS,
        label_dim=16,
        descriptions_per_tag=5 if kind == "ram_plus" else 1,
    )
    model = CLASSES[kind](config)
    for name, parameter in model.named_parameters():
        if name.startswith(("image_projection.", "label_projection.", "tag_decoder.", "classif")):
            torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.normal_(model.label_embeddings, std=3.0)
    return model.eval()


@cache
def _tagger(kind: Kind, batch_size: int) -> Tagger:
    return Tagger(_model(kind), VOCABULARY, batch_size=batch_size, score_floor=0.0)


@cache
def _alone(kind: Kind) -> np.ndarray:
    """Scores of each image on its own, [images, tags]."""
    return np.stack([_dense(_tagger(kind, 1)(image[None])[0]) for image in _images()])


@cache
def _images() -> np.ndarray:
    shape = (NUM_IMAGES, SIDE, SIDE, 3)
    return np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)


def _dense(tags: Tags) -> np.ndarray:
    assert sorted(tags.tag_ids.tolist()) == list(range(NUM_TAGS))
    return tags.scores[np.argsort(tags.tag_ids)]


def test_scores_spread_enough_to_tell_images_and_tags_apart() -> None:
    for kind in CLASSES:
        scores = _alone(kind)
        assert scores.std(axis=0).min() > 1e-3
        assert scores.std(axis=1).min() > 1e-3


@settings(max_examples=25, deadline=None)
@given(
    kind=KINDS,
    batch_size=st.sampled_from([1, 2, 3, 5]),
    order=st.lists(st.integers(0, NUM_IMAGES - 1), min_size=1, max_size=6),
)
def test_any_batch_gives_each_image_its_own_scores(
    kind: Kind, batch_size: int, order: list[int]
) -> None:
    tagger, images = _tagger(kind, batch_size), _images()
    chunks = [order[i : i + batch_size] for i in range(0, len(order), batch_size)]
    found = np.stack([_dense(tags) for chunk in chunks for tags in tagger(images[chunk])])
    expected = _alone(kind)[order]
    assert np.abs(found - expected).max() <= SCORE_TOLERANCE
    clear = np.abs(expected - VOCABULARY.thresholds) > SCORE_TOLERANCE
    fires, should = found > VOCABULARY.thresholds, expected > VOCABULARY.thresholds
    assert np.array_equal(fires & clear, should & clear)


@settings(max_examples=15, deadline=None)
@given(
    kind=KINDS,
    tag_ids=st.lists(st.integers(0, NUM_TAGS - 1), min_size=1, max_size=2 * NUM_TAGS),
)
def test_any_tags_in_any_order_score_as_in_the_full_model(kind: Kind, tag_ids: list[int]) -> None:
    model = _model(kind)
    tokens = torch.randn(2, 5, model.config.token_dim, generator=torch.Generator().manual_seed(0))
    few_tags = model.select_tags(tag_ids)
    with torch.inference_mode():
        full = model.decode_tags(tokens, model.label_queries(tokens)).sigmoid()
        few = few_tags.decode_tags(tokens, few_tags.label_queries(tokens)).sigmoid()
    assert (few - full[:, tag_ids]).abs().max() <= 1e-6


@pytest.mark.parametrize("kind", CLASSES)
def test_a_changed_neighbour_is_noticed_by_these_tests(kind: Kind) -> None:
    """The images differ enough that mixing two of them up would break the tolerance."""
    scores = _alone(kind)
    for one in range(NUM_IMAGES):
        for other in range(one):
            assert np.abs(scores[one] - scores[other]).max() > 100 * SCORE_TOLERANCE

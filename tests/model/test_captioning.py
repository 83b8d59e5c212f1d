from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from ram_model import CaptionError, CaptionOptions, Ram, Tagger, WordPieceTokenizer
from ram_model.config import Kind, variant
from tests.model.tiny_captions import (
    NAMES,
    PIECES,
    VOCABULARY,
    captioning_model,
    pixels,
    tokenizer,
)

BATCH = 4
OPTIONS = CaptionOptions(max_length=16)
POOL = pixels(6)


def _tagger(kind: Kind = "tag2text", **options: Any) -> Tagger:
    defaults: dict[str, Any] = {"captions": OPTIONS, "tokenizer": tokenizer(), "batch_size": BATCH}
    return Tagger(captioning_model(kind), VOCABULARY, **defaults | options)


@pytest.fixture(scope="module", params=["ram", "tag2text"])
def tagger(request: pytest.FixtureRequest) -> Tagger:
    return _tagger(request.param)


@pytest.fixture(scope="module")
def alone(tagger: Tagger) -> list[str | None]:
    """The caption of each image of the pool, each at batch 1."""
    return [tagger.tag_image(Image.fromarray(image)).caption for image in POOL]


@settings(max_examples=15, deadline=None)
@given(chosen=st.lists(st.integers(0, len(POOL) - 1), min_size=1, max_size=BATCH))
def test_a_caption_does_not_depend_on_the_batch(
    tagger: Tagger, alone: list[str | None], chosen: list[int]
) -> None:
    assert len(set(alone)) > 2
    found = tagger(POOL[chosen])
    assert [tags.caption for tags in found] == [alone[position] for position in chosen]


def test_tags_are_those_of_a_tagger_without_captions(tagger: Tagger) -> None:
    kind: Kind = tagger._network.config.kind
    plain = Tagger(captioning_model(kind), VOCABULARY, batch_size=BATCH)
    for with_caption, without in zip(tagger(POOL[:3]), plain(POOL[:3]), strict=True):
        assert with_caption.names == without.names
        assert np.array_equal(with_caption.scores, without.scores)
        assert without.caption is None


def test_captions_of_a_subset_of_tags_are_guided_by_it() -> None:
    tags_only = _tagger(tags=["dog", "sea"])(POOL[:3])
    free = _tagger()(POOL[:3])
    guides = [[name for name in ("dog", "sea") if name in tags.names] for tags in free]
    given = _tagger()(POOL[:3], caption_tags=guides)
    assert [tags.caption for tags in tags_only] == [tags.caption for tags in given]
    assert [tags.caption for tags in tags_only] != [tags.caption for tags in free]


def test_given_words_need_not_be_tags_and_change_the_caption() -> None:
    tagger = _tagger()
    free = tagger(POOL[:4])
    guided = tagger(POOL[:4], caption_tags=[["two red cars"], None, None, None])
    changed = [a.caption != b.caption for a, b in zip(free, guided, strict=True)]
    assert changed == [True, False, False, False]
    assert [tags.names for tags in free] == [tags.names for tags in guided]


def test_words_of_the_options_guide_every_caption_without_words_of_its_own() -> None:
    tagger = _tagger(captions=CaptionOptions(max_length=16, tags=("two red cars",)))
    guided = _tagger()(POOL[:3], caption_tags=[["two red cars"], ["sea"], ["two red cars"]])
    found = tagger(POOL[:3], caption_tags=[None, ["sea"], None])
    assert [tags.caption for tags in found] == [tags.caption for tags in guided]
    assert tagger(POOL[:1])[0].caption == guided[0].caption


def test_tags_of_one_name_guide_by_id() -> None:
    scores_by_id = _tagger(threshold=0.0, top_k=len(NAMES))
    everything = scores_by_id(POOL[:1])[0]
    assert sorted(everything.tag_ids.tolist()) == list(range(len(NAMES)))
    assert sorted(everything.names) == sorted(NAMES)  # "run" twice
    (guided,) = _tagger()(POOL[:1], caption_tags=[list(NAMES)])
    assert everything.caption == guided.caption


def test_16_bit_writes_captions_that_mostly_agree() -> None:
    # with words given, the caption hangs on the tokens alone; near ties are rare in 4 images
    words = [["dog"]] * 4
    full = [tags.caption for tags in _tagger()(POOL[:4], caption_tags=words)]
    half = [tags.caption for tags in _tagger(precision="bf16")(POOL[:4], caption_tags=words)]
    assert sum(a == b for a, b in zip(full, half, strict=True)) >= 2
    assert all(isinstance(caption, str) for caption in half)


def test_empty_batches_and_wrong_guides() -> None:
    tagger = _tagger()
    assert tagger(POOL[:0]) == []
    with pytest.raises(ValueError, match="caption_tags holds 1 entries, but must hold 2"):
        tagger(POOL[:2], caption_tags=[["dog"]])
    with pytest.raises(ValueError, match="caption_tags holds 'dog', but must hold lists"):
        tagger.tag_image(Image.fromarray(POOL[0]), caption_tags="dog")
    plain = Tagger(captioning_model(), VOCABULARY)
    with pytest.raises(ValueError, match="captions, which this tagger does not write"):
        plain(POOL[:1], caption_tags=[["dog"]])


def test_what_does_not_fit_together_is_refused() -> None:
    with pytest.raises(CaptionError, match="has no caption decoder"):
        Tagger(
            Ram(variant("tiny", num_tags=6)), VOCABULARY, captions=OPTIONS, tokenizer=tokenizer()
        )
    with pytest.raises(CaptionError, match="need the tokenizer"):
        _tagger(tokenizer=None)
    with pytest.raises(ValueError, match="max_length is 65, but must be at most 64"):
        _tagger(captions=CaptionOptions(max_length=65))
    with pytest.raises(ValueError, match="num_beams is 20, but must be at most 16"):
        _tagger(captions=CaptionOptions(num_beams=20))


def test_other_word_pieces_are_refused() -> None:
    others = WordPieceTokenizer([*PIECES, "zebra"])
    with pytest.raises(CaptionError, match=f"holds {len(PIECES) + 1} word pieces"):
        _tagger(tokenizer=others)

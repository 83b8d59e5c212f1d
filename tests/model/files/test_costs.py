from dataclasses import replace

import pytest

from ram_model.config import CaptionConfig, Kind, variant
from ram_model.files.checkpoint import build_on_meta
from ram_model.files.costs import TAGGING_PARTS, count_costs, total

# GMAC of the parts, from counting the official code (two operations each)
OFFICIAL: dict[Kind, dict[str, float]] = {
    "ram": {"image_encoder": 103.918, "tag_decoder": 56.357, "label_projection": 0.0},
    "ram_plus": {"image_encoder": 103.918, "tag_decoder": 56.357, "label_projection": 1.803},
    "tag2text": {"image_encoder": 47.082, "tag_decoder": 42.434, "label_projection": 0.0},
}
TOTALS = {"ram": 162.195 - 1.803, "ram_plus": 162.315 + 0.120, "tag2text": 89.52}
PARAMETERS = {"ram": 212_117_045, "ram_plus": 329_493_046, "tag2text": 107_111_133}


@pytest.mark.parametrize("kind", ["ram", "ram_plus", "tag2text"])
def test_parts_of_the_official_size_cost_what_the_official_code_does(kind: Kind) -> None:
    config = variant("swin_b_384" if kind == "tag2text" else "swin_l_384", kind=kind)
    costs = count_costs(config)
    assert tuple(costs) == TAGGING_PARTS
    for part, gmac in OFFICIAL[kind].items():
        assert costs[part].gflop / 2 == pytest.approx(gmac, abs=6e-4), part
    # RAM's label projection is done once per model
    assert total(costs).gflop / 2 == pytest.approx(TOTALS[kind], rel=1e-4)
    assert total(costs).parameters == PARAMETERS[kind]


@pytest.mark.parametrize(("kind", "parameters"), [("ram", 469_148_785), ("tag2text", 372_007_193)])
def test_caption_side_is_counted_too(kind: Kind, parameters: int) -> None:
    plain = variant("swin_b_384" if kind == "tag2text" else "swin_l_384", kind=kind)
    costs = count_costs(replace(plain, captions=CaptionConfig()))
    assert total(costs).parameters == parameters
    assert costs["text_decoder"].parameters == 137_881_148
    # by hand, 40 pieces of width 768: 12 layers of self-attention, reading 145 tokens, and FFN
    width, pieces, tokens, memory = 768, 40, 145, plain.token_dim
    attention = 4 * pieces * width**2 + 2 * pieces**2 * width
    reading = 2 * pieces * width**2 + 2 * tokens * memory * width + 2 * pieces * tokens * width
    macs = 12 * (attention + reading + 8 * pieces * width**2)
    assert costs["tag_encoder"].gflop == pytest.approx(2 * macs / 1e9)
    assert {part: costs[part] for part in TAGGING_PARTS} == count_costs(plain)


def test_weighing_descriptions_counts_as_label_embeddings() -> None:
    config = variant("tiny", kind="ram_plus", num_tags=5)
    costs = count_costs(config)
    # likeness of one image to 5 * 51 rows of 512, then their weighted sum
    assert costs["label_embeddings"].gflop == pytest.approx(2 * 2 * 5 * 51 * 512 / 1e9)
    assert count_costs(variant("tiny", num_tags=5))["label_embeddings"].gflop == 0
    numbers = sum(p.numel() for p in build_on_meta(config).parameters())
    assert total(costs).parameters == numbers

import pytest

from ram_model.checkpoint import build_on_meta
from ram_model.config import Kind, variant
from ram_model.costs import count_costs, total

# GMAC of the parts, from counting the official code (two operations each)
OFFICIAL = {
    "ram": {"image_encoder": 103.918, "tag_decoder": 56.357, "label_projection": 0.0},
    "ram_plus": {"image_encoder": 103.918, "tag_decoder": 56.357, "label_projection": 1.803},
}


@pytest.mark.parametrize("kind", ["ram", "ram_plus"])
def test_parts_of_the_official_size_cost_what_the_official_code_does(kind: Kind) -> None:
    config = variant("swin_l_384", kind=kind)
    costs = count_costs(config)
    for part, gmac in OFFICIAL[kind].items():
        assert costs[part].gflop / 2 == pytest.approx(gmac, abs=6e-4), part
    assert costs["label_embeddings"].parameters == {"ram": 2_347_520, "ram_plus": 119_723_521}[kind]
    sizes = {"ram": 212_117_045, "ram_plus": 329_493_046}
    assert total(costs).parameters == sizes[kind]
    # RAM's label projection is done once per model: .002 of the image's 162.3 GMAC are the rest
    assert total(costs).gflop / 2 == pytest.approx(
        {"ram": 162.195 - 1.803, "ram_plus": 162.315 + 0.1197}[kind], rel=1e-4
    )


def test_weighing_descriptions_counts_as_label_embeddings() -> None:
    config = variant("tiny", kind="ram_plus", num_tags=5)
    costs = count_costs(config)
    # likeness of one image to 5 * 51 rows of 512, then their weighted sum
    assert costs["label_embeddings"].gflop == pytest.approx(2 * 2 * 5 * 51 * 512 / 1e9)
    assert count_costs(variant("tiny", num_tags=5))["label_embeddings"].gflop == 0
    numbers = sum(p.numel() for p in build_on_meta(config).parameters())
    assert total(costs).parameters == numbers

"""The figures of the model card are those of the configurations."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from ram_model.config import CaptionConfig, RamConfig, variant
from ram_model.files.checkpoint import CONFIG
from ram_model.files.costs import TAGGING_PARTS, PartCost, count_costs, total

ROOT = Path(__file__).parents[2]
CAPTIONS = CaptionConfig()
MODELS = {
    "RAM": replace(variant("swin_l_384"), captions=CAPTIONS),
    "RAM++": variant("swin_l_384", kind="ram_plus"),
    "Tag2Text": replace(variant("swin_b_384", kind="tag2text"), captions=CAPTIONS),
    "RAM, `swin_b_384`": variant("swin_b_384"),
    "RAM, `swin_l_224`": variant("swin_l_224"),
}


@pytest.fixture(scope="module")
def card() -> str:
    return (ROOT / "model" / "README.md").read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def costs() -> dict[str, dict[str, PartCost]]:
    mini = ROOT / "model" / "ram_model" / "weights" / "ram-mini" / CONFIG
    models = MODELS | {"ram-mini": RamConfig.from_json(mini.read_text(encoding="utf-8"))}
    return {name: count_costs(config) for name, config in models.items()}


def test_totals_of_tagging(card: str, costs: dict[str, dict[str, PartCost]]) -> None:
    for name, parts in costs.items():
        tagging = total({part: parts[part] for part in TAGGING_PARTS})
        row = f"{tagging.parameters / 1e6:.1f} M | {tagging.gflop:.1f} |"
        assert re.search(rf"^\| {re.escape(name)} \|.*\| {re.escape(row)}$", card, re.MULTILINE), (
            row
        )


def test_every_part(card: str, costs: dict[str, dict[str, PartCost]]) -> None:
    for part in (*TAGGING_PARTS, "tag_encoder", "text_decoder"):
        cells = []
        for name in ("RAM", "RAM++", "Tag2Text"):
            cost = costs[name].get(part, PartCost(0, 0.0))
            cells.append(f" {cost.parameters / 1e6:.1f} M, {cost.gflop:.1f} " if any(cost) else " ")
        title = (
            part.replace("_", " ")
            if part in TAGGING_PARTS
            else f"captions: {part.replace('_', ' ')}"
        )
        row = f"| {title} |{'|'.join(cells)}|"
        assert row in card, row

"""Losses as sums over samples: the family's own losses, however a step is split."""

import math

import pytest
import torch

from ram_model.training.training_losses import CaptionBatch, ram_losses
from ram_ray.training.config import TrainConfig
from ram_ray.training.objective import Batch, Objective
from tests.model.tiny_captions import NAMES, captioning_model, tokenizer

CONFIG = TrainConfig(
    data="x",
    output="y",
    labels="z",
    vocabulary="v",
    statistics="clip",
    captions="c",
    caption_weight=1.0,
    distillation_weight=1.0,
    teacher="t.parquet",
)
CAPTIONS = ["a dog and a cat running by the sea", "two trees", "a red car near the tree"]


def batch_of(rows: slice, width: int) -> Batch:
    torch.manual_seed(1)
    pixels = torch.randint(0, 256, (3, 128, 128, 3), dtype=torch.uint8)
    targets = (torch.rand(3, len(NAMES)) < 0.4).float()
    teacher = torch.randn(3, width)
    captions = CaptionBatch.encode(tokenizer(), CAPTIONS, [["dog", "cat"], ["tree"], ["tree"]])
    chosen = CaptionBatch(*(part[rows] for part in captions))
    return Batch(
        num_samples=len(pixels[rows]),
        pixels=pixels[rows],
        present=torch.ones(3)[rows],
        targets=targets[rows],
        known=torch.ones(3, len(NAMES), dtype=torch.bool)[rows],
        captions=chosen,
        teacher=teacher[rows],
    )


def test_they_are_those_of_the_family_and_add_up() -> None:
    model = captioning_model("ram").eval()
    objective = Objective(model, CONFIG)
    width = model.config.label_dim
    whole = batch_of(slice(0, 3), width)
    assert whole.captions is not None
    assert whole.teacher is not None
    with torch.no_grad():
        images = objective.normalisation(whole.pixels)
        expected = ram_losses(model, images, whole.targets, whole.teacher, whole.captions)
        sums, counts = objective(whole), whole.counts()
        means = {name: (sums[name] / counts[name]).item() for name in sums}
        parts = [batch_of(slice(0, 1), width), batch_of(slice(1, 3), width)]
        added = {n: sum(objective(p)[n].item() for p in parts) for n in sums}
    assert expected.caption is not None
    assert expected.distillation is not None
    assert means["tag"] * 3 == pytest.approx(expected.tag.item(), rel=1e-5)
    assert means["caption"] == pytest.approx(expected.caption.item(), rel=1e-5)
    assert means["distillation"] == pytest.approx(expected.distillation.item(), rel=1e-5)
    assert added == pytest.approx({n: v.item() for n, v in sums.items()}, rel=1e-5)
    assert {n: sum(p.counts()[n] for p in parts) for n in counts} == counts


def test_absent_images_unknown_tags_and_lacking_teachers_cost_nothing() -> None:
    model = captioning_model("ram").eval()
    objective, width = Objective(model, CONFIG), model.config.label_dim
    batch = batch_of(slice(0, 2), width)
    assert batch.teacher is not None
    teacher = batch.teacher.clone()
    teacher[1] = math.nan
    absent = batch._replace(present=torch.tensor([1.0, 0.0]))
    with torch.no_grad():
        alone = objective(batch_of(slice(0, 1), width))
        assert {n: v.item() for n, v in objective(absent).items()} == pytest.approx(
            {n: v.item() for n, v in alone.items()}, rel=1e-5
        )
        untaught = objective(batch._replace(teacher=teacher))
        unknown = objective(batch._replace(known=torch.zeros_like(batch.known)))
    assert untaught["distillation"].item() == pytest.approx(alone["distillation"].item(), rel=1e-5)
    assert unknown["tag"].item() == 0
    assert batch._replace(teacher=teacher).counts()["distillation"] == 1

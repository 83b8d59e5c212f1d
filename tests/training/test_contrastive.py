"""Small CLIP: the loss of a step does not depend on how the step is split."""

import copy
from pathlib import Path

import open_clip
import pytest
import torch

from ram_model.words.clip import load_clip, load_image_tower
from ram_model.words.text_encoder import load_text_encoder
from ram_ray.training.config import TrainConfig
from ram_ray.training.contrastive import ClipObjective, ClipStudent
from ram_ray.training.data.pairs import Pairs
from ram_ray.training.learner import Learner
from ram_ray.training.trained import Worker
from tests.model.tiny_clip import tiny_clip

CONFIG = TrainConfig(
    data="x", output="y", captions="c", kind="clip", variant="small", learning_rate=1e-3,
    schedule="constant", warmup_steps=0,
)  # fmt: skip


def pairs(rows: slice) -> Pairs:
    torch.manual_seed(0)
    pixels = torch.randint(0, 256, (5, 32, 32, 3), dtype=torch.uint8)
    pieces = torch.zeros(5, 77, dtype=torch.int64)
    pieces[:, 0], pieces[:, 1], pieces[:, 2] = 49406, torch.arange(5) + 300, 49407
    present = torch.tensor([1.0, 1, 1, 0, 1])
    return Pairs(len(pixels[rows]), pixels[rows], present[rows], pieces[rows])


def learner() -> Learner:
    return Learner(ClipObjective(copy.deepcopy(tiny_clip())), CONFIG, Worker(), 10)


def test_a_step_in_parts_is_the_step_as_a_whole() -> None:

    whole, parted = learner(), learner()
    first = whole.step(0, [pairs(slice(0, 5))])
    again = parted.step(0, [pairs(slice(0, 2)), pairs(slice(2, 5))])
    assert again["loss"] == pytest.approx(first["loss"], rel=1e-5)
    a, b = whole.tensors()["model"], parted.tensors()["model"]
    moved = sum((a[f"clip.{n}"] - t).norm() ** 2 for n, t in tiny_clip().state_dict().items())
    apart = sum((a[n] - b[n]).norm() ** 2 for n in a)
    assert apart < 1e-6 * moved

    objective = ClipObjective(tiny_clip())
    batch = pairs(slice(0, 5))
    with torch.no_grad():
        features = objective(batch)["features"][batch.present > 0]
        direct = open_clip.ClipLoss()(*features.chunk(2, 1), tiny_clip().logit_scale.exp())
    assert first["loss"] == pytest.approx(direct.item(), rel=1e-5)


def test_the_result_is_read_as_text_encoder_and_as_image_tower(tmp_path: Path) -> None:
    clip = tiny_clip()
    text = {"context_length": 77, "vocab_size": 49408, "width": 64, "heads": 1, "layers": 1}
    vision = {"image_size": 32, "layers": 1, "width": 64, "patch_size": 16}
    config = {"embed_dim": 512, "vision_cfg": vision, "text_cfg": text, "quick_gelu": True}
    student = ClipStudent(clip=clip, config=config)
    tensors = {"model": student.state(), "average": None}
    folder = student.export(CONFIG, tensors, tmp_path / "clip")
    loaded, again = load_clip(folder)
    assert again == config
    images = torch.rand(2, 3, 32, 32)
    with torch.no_grad():
        found = load_image_tower(folder)(images)
        assert torch.allclose(found, clip.encode_image(images), atol=1e-5)
    (row,) = load_text_encoder(folder).encode(["a dog"])
    pieces = open_clip.SimpleTokenizer()(["a dog"])
    with torch.no_grad():
        expected = loaded.encode_text(pieces, normalize=True)[0]
    assert torch.allclose(row, expected, atol=1e-5)

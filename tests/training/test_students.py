"""New tags for a trained model: what is trained, and what must stay as it is."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ram_model import Tagger, Vocabulary, open_model, save_folder, variant
from ram_model.config import RamConfig, SwinConfig
from ram_model.files.checkpoint import build_model
from ram_ray.errors import ConfigError
from ram_ray.training.pipeline import train
from ram_ray.training.remarks import left_behind
from ram_ray.training.students import make_student
from tests.training.scene import config_of, write_scene

OLD = ("stone", "red", "sky")


@pytest.fixture
def scene(tmp_path: Path) -> dict[str, Any]:
    torch.manual_seed(5)
    model = build_model(variant("tiny", num_tags=len(OLD))).eval()
    vocabulary = Vocabulary(names=OLD, thresholds=np.full(3, 0.4))
    save_folder(model, model.config, vocabulary, tmp_path / "old")
    given = {"from_model": str(tmp_path / "old"), "vocabulary": None, "image_size_px": None}
    return write_scene(tmp_path) | given


def test_decoder_only_leaves_the_other_scores_bit_equal(scene: dict[str, Any]) -> None:
    settings = {"tags": ("red", "green", "blue"), "trains": "decoder", "epochs": 1}
    result = train(config_of(scene, **settings))
    old, new = open_model(scene["from_model"]), open_model(result.model)
    assert new.vocabulary.names == ("stone", "red", "sky", "green", "blue")
    assert new.vocabulary.thresholds[:3].tolist() == old.vocabulary.thresholds.tolist()
    images = np.random.default_rng(0).integers(0, 256, (4, 128, 128, 3), np.uint8)
    before = Tagger(old.model, old.vocabulary, batch_size=4).logits(images)
    together = Tagger(open_model(result.model).model, new.vocabulary, batch_size=4).logits(images)
    alone = Tagger(new.model, new.vocabulary, batch_size=4, tags=OLD).logits(images)
    assert torch.equal(before, alone)
    assert torch.allclose(before, together[:, :3], atol=1e-6)  # matrices of another shape
    first = make_student(config_of(scene, **settings)).state()["model.label_embeddings"]
    learnt = open_model(result.model).model.label_embeddings.detach()[3:]
    assert not torch.equal(first, learnt)


def test_tags_are_added_or_replace_the_others(scene: dict[str, Any]) -> None:
    added = make_student(config_of(scene, tags=("red", "green")))
    assert added.vocabulary is not None
    assert added.vocabulary.names == ("stone", "red", "sky", "green")
    alone = make_student(config_of(scene, tags=("green", "red"), tag_mode="replace"))
    assert alone.vocabulary is not None
    assert alone.vocabulary.names == ("red", "green")
    old = open_model(scene["from_model"]).model.label_embeddings
    assert torch.equal(alone.state()["model.label_embeddings"][0], old[1])
    with pytest.raises(ConfigError, match=r"known .* already; nothing is new"):
        make_student(config_of(scene, tags=("red",), trains="decoder"))


def test_a_model_goes_on_at_another_resolution(scene: dict[str, Any]) -> None:
    student = make_student(config_of(scene, image_size_px=256))
    shape = RamConfig.from_json(student.config_json)
    assert isinstance(shape.image_encoder, SwinConfig)
    assert (shape.image_size_px, shape.image_encoder.window_size) == (256, 8)
    old = dict(open_model(scene["from_model"]).model.state_dict())
    table = "image_encoder.swin.layers.0.blocks.0.attn.relative_position_bias_table"
    grown = student.state()[f"model.{table}"]
    assert grown.shape == (15 * 15, 1)
    centre = (grown.view(15, 15)[7, 7], old[table].view(7, 7)[3, 3])
    assert torch.allclose(*centre, atol=1e-6)
    same = "tag_decoder.layers.0.key.weight"
    assert torch.equal(student.state()[f"model.{same}"], old[same])


def test_what_gets_lost_and_what_nothing_teaches_is_said_first(scene: dict[str, Any]) -> None:
    said: list[str] = []
    folder = Path(scene["from_model"])
    (folder / "captions.safetensors").write_bytes(b"stands for a caption side")
    (folder / "text_encoder").mkdir()
    config = config_of(scene, tags=("green", "violet"), text_encoder=None, epochs=1)
    remarks = left_behind(config)
    assert "writes no captions" in remarks[0]
    assert "takes no words but its own tags" in remarks[1]
    (folder / "text_encoder").rmdir()
    (folder / "captions.safetensors").unlink()
    result = train(config, on_remark=said.append)
    silent = next(one for one in said if "no image that shows them" in one)
    assert silent.startswith("3 of 5 tags")
    assert silent.endswith(": stone, sky, violet.")
    assert tuple(said) == result.remarks[: len(said)]

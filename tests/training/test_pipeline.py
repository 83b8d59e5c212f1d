"""A whole run in one process: it learns, resumes exactly, and fails in one clear sentence."""

import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ram_model import Tagger, open_model
from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage.stores import open_store
from ram_ray.training.config import TrainConfig
from ram_ray.training.metrics import read_metrics
from ram_ray.training.pipeline import TrainingFailedError, train
from tests.training.scene import TAGS, write_scene


@pytest.fixture
def scene(tmp_path: Path) -> dict[str, Any]:
    return write_scene(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    settings = write_scene(tmp_path_factory.mktemp("undisturbed"))
    train(TrainConfig(**settings))
    return settings


def weights(settings: dict[str, Any]) -> dict[str, torch.Tensor]:
    return dict(open_model(f"{settings['output']}/model").model.state_dict())


def audited(settings: dict[str, Any]) -> list[dict[str, Any]]:
    files = sorted(Path(settings["audit"]).iterdir())
    return [json.loads(line) for file in files for line in file.read_text().splitlines()]


def stop_after(step: int) -> Any:
    def on_progress(line: dict[str, Any]) -> None:
        if line["step"] == step:
            raise KeyboardInterrupt

    return on_progress


def test_it_learns_and_the_model_tags(scene: dict[str, Any]) -> None:
    result = train(TrainConfig(**scene | {"epochs": 4, "augment": "crop", "ema_decay": 0.5}))
    lines = read_metrics(open_store(scene["output"], StoreConfig()))
    assert [line["step"] for line in lines] == list(range(1, result.steps + 1))
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    opened = open_model(result.model)
    assert opened.vocabulary.names == TAGS
    assert Tagger(opened.model, opened.vocabulary).logits(np.zeros((1, 32, 32, 3))).shape == (1, 3)


def test_a_run_stopped_in_mid_epoch_resumes_exactly(
    scene: dict[str, Any], undisturbed: dict[str, Any]
) -> None:
    config = TrainConfig(**scene)
    with pytest.raises(KeyboardInterrupt):
        train(config, on_progress=stop_after(5))
    result = train(config)
    assert [attempt.first_step for attempt in result.attempts] == [4]
    assert all(torch.equal(a, weights(undisturbed)[n]) for n, a in weights(scene).items())
    rows = audited(scene)
    redone = [row["step"] for row in rows].count(4)
    assert redone == 2  # done, lost with the process, done again
    lineage = {row["step"]: row["samples"] for row in rows}
    assert lineage == {row["step"]: row["samples"] for row in audited(undisturbed)}
    for epoch in range(2):
        seen = [n for step, ids in lineage.items() if step // 3 == epoch for n in ids]
        assert Counter(seen) == Counter(range(22))


def test_accumulation_does_not_change_the_optimisation(
    scene: dict[str, Any], undisturbed: dict[str, Any]
) -> None:
    train(TrainConfig(**scene | {"micro_batch_size": 3}))
    for name, tensor in weights(scene).items():
        assert torch.allclose(tensor, weights(undisturbed)[name], rtol=1e-4, atol=1e-6), name


def test_another_index_vocabulary_or_batch_is_refused(
    scene: dict[str, Any], undisturbed: dict[str, Any]
) -> None:
    there = {"output": undisturbed["output"]}
    with pytest.raises(ConfigError, match="another batch_size \\(8 there, 4 here\\)"):
        train(TrainConfig(**scene | there | {"batch_size": 4}))
    with pytest.raises(ConfigError, match="other images or labels"):
        train(TrainConfig(**scene | there))  # the same photos in another place
    Path(scene["vocabulary"]).write_text("red\ngreen\nblue\ngrey\n")
    with pytest.raises(ConfigError, match=r"other images or labels|another vocabulary"):
        train(TrainConfig(**scene | there))


def test_a_loss_that_is_not_finite_ends_the_run_with_a_sentence(scene: dict[str, Any]) -> None:
    config = TrainConfig(**scene | {"learning_rate": 1e30, "warmup_steps": 0})
    with pytest.raises(TrainingFailedError, match=r"loss is not finite at step .* learning_rate"):
        train(config)
    kept = sorted(os.listdir(Path(scene["output"]) / "checkpoints"))
    assert all(name.startswith("step-0000000") for name in kept)


def test_a_damaged_newest_checkpoint_is_passed_over(
    scene: dict[str, Any], undisturbed: dict[str, Any]
) -> None:
    config = TrainConfig(**scene)
    with pytest.raises(KeyboardInterrupt):
        train(config, on_progress=stop_after(5))
    newest = Path(scene["output"]) / "checkpoints" / "step-00000004.pt"
    newest.write_bytes(newest.read_bytes()[:1000])
    result = train(config)
    assert result.attempts[0].first_step == 2
    assert "Checkpoint 4" in result.remarks[0]
    assert "is damaged. Going on from checkpoint 2." in result.remarks[0]
    assert all(torch.equal(a, weights(undisturbed)[n]) for n, a in weights(scene).items())


def test_vanished_checkpoints_are_named(scene: dict[str, Any]) -> None:
    config = TrainConfig(**scene)
    with pytest.raises(KeyboardInterrupt):
        train(config, on_progress=stop_after(5))
    for file in (Path(scene["output"]) / "checkpoints").glob("*.pt"):
        file.unlink()
    with pytest.raises(TrainingFailedError, match=r"Checkpoint 4 .* is gone\. .*No checkpoint"):
        train(config)


def test_a_shard_that_breaks_later_stops_the_run(scene: dict[str, Any]) -> None:
    with pytest.raises(KeyboardInterrupt):
        train(TrainConfig(**scene), on_progress=stop_after(1))
    tar = Path(scene["data"]) / "b.tar"
    data = tar.read_bytes()
    index_kept = data[:512] + os.urandom(3000) + data[3512:]
    tar.write_bytes(index_kept)
    with pytest.raises((TrainingFailedError, UnreachableError), match=r"b\.tar"):
        train(TrainConfig(**scene))

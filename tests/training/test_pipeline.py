"""A whole run in one process: it learns, resumes exactly, and fails in one clear sentence."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ram_model import Tagger, open_model
from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.storage.stores import open_store
from ram_ray.training.metrics import read_metrics
from ram_ray.training.pipeline import TrainingFailedError, train
from tests.training.scene import TAGS, assert_same_weights, config_of, write_scene


@pytest.fixture
def scene(tmp_path: Path) -> dict[str, Any]:
    return write_scene(tmp_path)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    settings = write_scene(tmp_path_factory.mktemp("undisturbed"))
    train(config_of(settings))
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


def test_it_learns_and_the_model_tags(undisturbed: dict[str, Any]) -> None:
    lines = read_metrics(open_store(undisturbed["output"], StoreConfig()))
    assert [line["step"] for line in lines] == list(range(1, 7))
    assert lines[-1]["loss"] < 0.8 * lines[0]["loss"]
    opened = open_model(f"{undisturbed['output']}/model")
    assert opened.vocabulary.names == TAGS
    assert Tagger(opened.model, opened.vocabulary).logits(np.zeros((1, 32, 32, 3))).shape == (1, 3)


def test_a_run_stopped_in_mid_epoch_resumes_exactly(
    scene: dict[str, Any], undisturbed: dict[str, Any]
) -> None:
    """With another split into forward passes, which must not matter either."""
    config = config_of(scene, micro_batch_size=3)
    with pytest.raises(KeyboardInterrupt):
        train(config, on_progress=stop_after(5))
    result = train(config)
    assert [attempt.first_step for attempt in result.attempts] == [4]
    assert_same_weights(weights(scene), weights(undisturbed))
    rows = audited(scene)
    assert [row["step"] for row in rows] == [0, 1, 2, 3, 4, 4, 5]  # 4 was lost and done again
    lineage = {row["step"]: row["samples"] for row in rows}
    assert lineage == {row["step"]: row["samples"] for row in audited(undisturbed)}
    for epoch in range(2):
        seen = [n for step, ids in lineage.items() if step // 3 == epoch for n in ids]
        assert sorted(seen) == list(range(22))


def test_another_index_or_batch_is_refused(
    scene: dict[str, Any], undisturbed: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match="another batch_size \\(8 there, 4 here\\)"):
        train(config_of(undisturbed, batch_size=4))
    with pytest.raises(ConfigError, match="other images or labels"):
        train(config_of(scene, output=undisturbed["output"]))  # the same photos in another place


def test_a_loss_that_is_not_finite_ends_the_run_with_a_sentence(scene: dict[str, Any]) -> None:
    config = config_of(scene, learning_rate=1e30, warmup_steps=0)
    with pytest.raises(TrainingFailedError, match=r"loss is not finite at step .* learning_rate"):
        train(config)

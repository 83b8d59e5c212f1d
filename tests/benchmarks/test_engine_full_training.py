import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from benchmarks.engine_bench import full_training
from benchmarks.engine_bench.full_training import labels_of, mark_of, scenes, train_arms
from benchmarks.engine_bench.summary import summarise
from benchmarks.engine_bench.table import tables
from benchmarks.engine_bench.whole_model import (
    RECIPE,
    TagObjective,
    batches,
    new_model,
    scores_of,
    train_whole,
)
from ram_model.metrics import average_precisions

SHORT = replace(RECIPE, epochs=10, batch_size=16, warmup_steps=2)
SIZES = {"train": 32, "test": 16}


def dark_and_light(count: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return pictures of which half are dark, and labels: is dark, is light."""
    random = np.random.default_rng(seed)
    dark = random.permutation(np.arange(count) % 2 == 0)
    noise = random.integers(0, 60, (count, 96, 96, 3))
    pixels = (noise + np.where(dark, 40, 140)[:, None, None, None]).astype(np.uint8)
    return pixels, np.stack([dark, ~dark], axis=1)


def test_learns_what_is_easy_on_pictures_it_has_not_seen() -> None:
    pixels, labels = dark_and_light(64, seed=0)
    others, truth = dark_and_light(32, seed=1)
    trained = train_whole(pixels, labels, seed=3, recipe=SHORT)
    found = average_precisions(truth.astype(np.int8), scores_of(trained, others))
    untrained = TagObjective(new_model(2, seed=3)).eval()
    chance = average_precisions(truth.astype(np.int8), scores_of(untrained, others))
    assert found.mean() > 0.95 > chance.mean()


def test_all_weights_are_trained() -> None:
    pixels, labels = dark_and_light(32, seed=0)
    trained = train_whole(pixels, labels, seed=3, recipe=replace(SHORT, epochs=1))
    before = new_model(2, seed=3).state_dict()
    same = [k for k, v in trained.model.named_parameters() if torch.equal(v, before[k])]
    assert same == []


def test_arms_begin_with_equal_weights_and_see_equal_batches() -> None:
    first, second, other = (new_model(48, seed=seed).state_dict() for seed in (5, 5, 6))
    for name, value in first.items():
        torch.testing.assert_close(value, second[name], rtol=0, atol=0)
    assert not torch.equal(first["label_embeddings"], other["label_embeddings"])
    pixels, _ = dark_and_light(33, seed=0)
    one, two = (list(batches(pixels, seed=5, recipe=SHORT)) for _ in range(2))
    assert len(one) == 20
    for (rows, images), (again, images_again) in zip(one, two, strict=True):
        np.testing.assert_array_equal(rows, again)
        torch.testing.assert_close(images, images_again, rtol=0, atol=0)


def test_pictures_are_moved_and_mirrored_whole() -> None:
    pixels = np.zeros((16, 96, 96, 3), np.uint8)
    pixels[:, 40:44, 20:24] = 255
    recipe = replace(SHORT, epochs=1)
    ((_, images),) = batches(pixels, seed=0, recipe=recipe)
    bright = images[..., 0] == 255
    assert bright.sum((1, 2)).tolist() == [16] * 16
    left = [int(columns.nonzero()[0]) for columns in bright.any(1)]
    assert all(14 <= at <= 26 or 66 <= at <= 78 for at in left)
    assert min(left) < 30 < 60 < max(left)


def test_labels_of_another_world_are_refused(tmp_path: Path) -> None:
    pictures, observed = scenes(900, 4)
    with pytest.raises(FileNotFoundError, match="--models none"):
        labels_of("engine", pictures, observed, tmp_path)
    columns = {"truth": pictures.truth, "observed": observed, "final": pictures.truth}
    write(tmp_path / "engine.parquet", columns)
    found = labels_of("engine", pictures, observed, tmp_path)
    np.testing.assert_array_equal(found, pictures.truth)
    write(tmp_path / "engine.parquet", columns | {"observed": pictures.truth})
    with pytest.raises(ValueError, match="'observed'"):
        labels_of("engine", pictures, observed, tmp_path)


def write(path: Path, columns: dict[str, np.ndarray]) -> None:
    rows, tag_ids = np.nonzero(np.logical_or.reduce(list(columns.values())))
    values: dict[str, Any] = {name: array[rows, tag_ids] for name, array in columns.items()}
    pq.write_table(pa.table({"image": rows, "tag_id": tag_ids} | values), path)


@pytest.fixture
def measured(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a folder with the figures of parsing and oracle, of tiny runs."""
    monkeypatch.setattr(full_training, "SIZES", full_training.SIZES | SIZES)
    train_again(tmp_path)
    return tmp_path


def train_again(out: Path, epochs: int = 1) -> None:
    recipe = replace(SHORT, epochs=epochs)
    train_arms(out, [900], ["parsing", "oracle"], train_images=SIZES["train"], recipe=recipe)


def test_the_table_shows_whole_models_beside_the_others(measured: Path) -> None:
    path = measured / "results" / "scenes-seed-900-full.json"
    whole = json.loads(path.read_text())
    other = whole | {"trained": True, "arms": json.loads(json.dumps(whole["arms"]))}
    del other["recipe"]
    for found in other["arms"].values():
        found["model"] = found.pop("full") | {"map": 0.123}
    (measured / "results" / "scenes-seed-900.json").write_text(json.dumps(other))
    summary = summarise(measured / "results")
    assert summary["scenes"]["seeds_with_whole_models"] == [900]
    parsing = summary["scenes"]["arms"]["parsing"]
    assert parsing["model.map"]["mean"] == 0.123
    assert parsing["full.map"]["mean"] == whole["arms"]["parsing"]["full"]["map"]
    shown = tables(summary)
    assert "Whole models trained on them (1 seeds)" in shown
    assert "12.3" in shown
    assert f"{100 * parsing['full.map']['mean']:.1f}" in shown
    other["arms"]["parsing"]["labels"]["f1"] += 0.1
    (measured / "results" / "scenes-seed-900.json").write_text(json.dumps(other))
    with pytest.raises(ValueError, match="have changed"):
        summarise(measured / "results")


def test_only_other_labels_are_trained_on_again(
    measured: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls: list[str] = []

    def count(*arguments: Any, **_: Any) -> TagObjective:
        calls.append(mark_of(arguments[1], SHORT))
        return TagObjective(new_model(48, seed=0)).eval()

    monkeypatch.setattr(full_training, "train_whole", count)
    train_again(measured)
    assert calls == []
    path = measured / "results" / "scenes-seed-900-full.json"
    record = json.loads(path.read_text())
    record["arms"]["oracle"]["trained_on"] = "of other labels"
    path.write_text(json.dumps(record))
    train_again(measured)
    pictures, _ = scenes(900, SIZES["train"])
    assert calls == [mark_of(pictures.truth, SHORT)]
    with pytest.raises(ValueError, match="another recipe"):
        train_again(measured, epochs=2)

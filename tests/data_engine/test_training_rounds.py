"""Rounds: a model never judges a fold that it was trained on."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from ram_ray.data_engine.plan.image_plan import fold_of
from ram_ray.data_engine.training_rounds import run_rounds
from ram_ray.errors import ConfigError
from tests.data_engine.inline import run_inline
from tests.data_engine.photos import engine_config, write_source

OFF = {"generate": False, "locate": False, "cluster": False, "filter": False}
COUNT = 20


def test_models_train_on_the_other_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    run_inline(monkeypatch)
    write_source(tmp_path / "in", COUNT)
    trained: list[set[str]] = []

    def train(settings: dict[str, Any]) -> str:
        folder = Path(settings["labels"])
        tables = [pq.read_table(file) for file in sorted(folder.glob("*.parquet"))]
        trained.append({name for table in tables for name in table["image_id"].to_pylist()})
        assert Path(settings["vocabulary"]).exists()
        assert settings["data"] == str(tmp_path / "in")
        return "ram-mini"

    result = run_rounds(engine_config(tmp_path, **OFF), train, rounds=2, folds=2)
    first, second, final = trained
    everything = {f"photo-{number:03d}.jpg" for number in range(COUNT)}
    assert first == {name for name in everything if fold_of(name, 2) != 0}
    assert second == everything - first
    assert final == everything
    assert [one.num_images for one in result.rounds] == [COUNT, COUNT]
    assert result.model == "ram-mini"


def test_bad_numbers_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="folds is 1, but must be at least 2"):
        run_rounds(engine_config(tmp_path), lambda settings: "", folds=1)

"""Weights & Biases, and MLflow: the real packages.

MLflow 3 wants older pandas and cryptography than constraints.txt pins: its tests are of
`make proof`, in an environment with `pip install 'ram-ray[mlflow]'`.
"""

import importlib
import importlib.util
import json
import struct
import sys
from pathlib import Path
from typing import Any

import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.storage.stores import open_store
from ram_ray.training.metrics import read_metrics
from ram_ray.training.pipeline import TrainingFailedError, train
from tests.training.scene import config_of, write_scene

# what these packages, not we, warn about
pytestmark = pytest.mark.filterwarnings("default")


@pytest.fixture
def scene(tmp_path: Path) -> dict[str, Any]:
    return write_scene(tmp_path)


def need(package: str) -> Any:
    """Return the package, or skip the test."""
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"{package.upper()} IS NOT INSTALLED: pip install 'ram-ray[{package}]'")
    return importlib.import_module(package)


def stop_after(step: int) -> Any:
    def on_progress(line: dict[str, Any]) -> None:
        if line["step"] == step:
            raise KeyboardInterrupt

    return on_progress


@pytest.mark.parametrize("package", ["mlflow", "wandb"])
def test_a_package_that_is_missing_is_named_before_anything_is_done(
    scene: dict[str, Any], monkeypatch: pytest.MonkeyPatch, package: str
) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(ConfigError, match=rf"pip install 'ram-ray\[{package}\]'"):
        train(config_of(scene, **{package: "somewhere"}))
    assert not Path(scene["output"]).exists()


@pytest.mark.proof
def test_mlflow_keeps_one_run_of_a_resumed_training(
    scene: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = need("mlflow")

    monkeypatch.chdir(tmp_path)
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    config = config_of(scene, mlflow=uri, output=str(tmp_path / "it's a run"))
    with pytest.raises(KeyboardInterrupt):
        train(config, on_progress=stop_after(5))
    client = mlflow.MlflowClient(uri)
    experiment = client.get_experiment_by_name("ram-ray")
    assert experiment is not None
    stopped = client.search_runs([experiment.experiment_id])
    assert [run.info.status for run in stopped] == ["FAILED"]
    train(config)
    train(config_of(scene, mlflow=uri, output=str(tmp_path / "other")))
    runs = {r.info.run_name: r for r in client.search_runs([experiment.experiment_id])}
    assert sorted(runs) == ["it's a run", "other"]
    run = runs["it's a run"]
    assert run.info.status == "FINISHED"
    assert run.data.params["batch_size"] == "8"
    lines = read_metrics(open_store(config.output, StoreConfig()))
    history = client.get_metric_history(run.info.run_id, "loss")
    assert {point.step: point.value for point in history} == {
        line["step"]: pytest.approx(line["loss"]) for line in lines
    }
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]


@pytest.mark.proof
def test_an_mlflow_that_does_not_answer_is_one_sentence(
    scene: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    need("mlflow")
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    config = config_of(scene, mlflow="http://127.0.0.1:9")
    with pytest.raises(TrainingFailedError, match=r"MLflow at http://127\.0\.0\.1:9 cannot be"):
        train(config)


@pytest.mark.proof
def test_an_mlflow_that_fails_later_costs_only_its_lines(
    scene: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    mlflow = need("mlflow")

    monkeypatch.chdir(tmp_path)

    def refuse(*_: object, **__: object) -> None:
        raise mlflow.exceptions.MlflowException("the disk of the server is full")

    monkeypatch.setattr(mlflow.MlflowClient, "log_batch", refuse)
    result = train(config_of(scene, mlflow=f"sqlite:///{tmp_path}/mlflow.db"))
    assert result.last["step"] == 6
    assert [remark for remark in result.remarks if "the disk of the server is full" in remark]


def test_wandb_offline_writes_into_the_run_folder(
    scene: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    need("wandb")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("WANDB_MODE", "offline")
    monkeypatch.setenv("WANDB_SILENT", "true")
    result = train(config_of(scene, wandb="ram-ray-test"))
    assert not [remark for remark in result.remarks if "Weights" in remark]
    files = list(Path(scene["output"]).glob("wandb/offline-run-*/run-*.wandb"))
    assert len(files) == 1
    logged = read_offline(files[0])
    lines = read_metrics(open_store(scene["output"], StoreConfig()))
    assert logged == {line["step"]: pytest.approx(line["loss"]) for line in lines}
    assert not (tmp_path / "wandb").exists()


def test_wandb_without_a_login_is_one_sentence(
    scene: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    wandb = need("wandb")

    wandb.teardown()  # it remembers the environment of the test before
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("WANDB_API_KEY", raising=False)
    monkeypatch.setenv("WANDB_MODE", "online")
    monkeypatch.setenv("WANDB_BASE_URL", "http://127.0.0.1:9")
    monkeypatch.setenv("NETRC", str(tmp_path / "none"))
    with pytest.raises(TrainingFailedError, match=r"Weights & Biases cannot be used: .*offline"):
        train(config_of(scene, wandb="ram-ray-test"))


def read_offline(path: Path) -> dict[int, float]:
    """Return the loss by step in a file that W&B wrote offline.

    A LevelDB log after 7 bytes: blocks of 32 KiB, pieces with checksum, length and kind (1: whole,
    2 to 4: first, middle, last).
    """
    proto = importlib.import_module("wandb.proto.wandb_internal_pb2")
    data, place, whole, found = path.read_bytes(), 7, b"", {}
    while place + 7 <= len(data):
        left = 32768 - place % 32768
        if left < 7:
            place += left
            continue
        _, size, kind = struct.unpack("<IHB", data[place : place + 7])
        whole += data[place + 7 : place + 7 + size]
        place += 7 + size
        if kind in (1, 4):
            record = proto.Record()
            record.ParseFromString(whole)
            whole = b""
            if record.WhichOneof("record_type") == "history":
                items = {i.key or i.nested_key[0]: i.value_json for i in record.history.item}
                found[json.loads(items["_step"])] = json.loads(items["loss"])
    return found

"""The application on Ray Serve: the same answers, also while processes die and models change."""

import asyncio
import base64
import dataclasses
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import psutil
import pytest
from fastapi.testclient import TestClient

from benchmarks.http_load import Load, Target, open_loop
from ram_model import open_model, save_folder
from ram_ray.errors import ConfigError
from ram_ray.serving.config import LimitConfig, ReplicaConfig, ServeConfig
from ram_ray.serving.deployment import application, build_app
from ram_ray.serving.server import APP_NAME, running_server
from tests.conftest import photo_bytes

pytestmark = pytest.mark.timeout(900)  # processes start in seconds, or in minutes where CPUs lack

SEEDS = range(24)
REPLICAS = ReplicaConfig(
    cpus_per_replica=0.2,
    cpus_per_ingress=0.2,
    num_decoders=1,
)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def second_model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the folder of ram-mini with other thresholds: the same scores, another version."""
    folder = tmp_path_factory.mktemp("models") / "other"
    opened = open_model("ram-mini")
    vocabulary = dataclasses.replace(
        opened.vocabulary, thresholds=np.minimum(opened.vocabulary.thresholds, 0.3)
    )
    return str(save_folder(opened.model, opened.config, vocabulary, folder))


@pytest.fixture(scope="module")
def config(second_model: str) -> ServeConfig:
    return ServeConfig(
        models=("ram-mini", second_model),
        device="cpu",
        threads=1,
        batch_size=8,
        port=free_port(),
        replicas=REPLICAS,
    )


@pytest.fixture(scope="module")
def url(config: ServeConfig, ray_session: None) -> Iterator[str]:
    """Serve for this module's tests."""
    del ray_session
    with running_server(config):
        yield f"http://127.0.0.1:{config.port}"


def post(url: str, data: bytes, content_type: str = "image/jpeg") -> dict[str, Any]:
    request = urllib.request.Request(url, data, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        pytest.fail(f"{error.code}: {error.read().decode()}")


def tags_of(answer: dict[str, Any]) -> list[tuple[int, float]]:
    return [(tag["id"], tag["score"]) for tag in answer["images"][0]["tags"]]


@pytest.mark.slow
def test_answers_are_those_of_one_process(url: str, client: TestClient) -> None:
    with ThreadPoolExecutor(8) as pool:
        address = f"{url}/v1/tag?score_floor=0.1"
        answers = list(pool.map(lambda seed: tags_of(post(address, photo_bytes(seed))), SEEDS))
    for seed, answer in zip(SEEDS, answers, strict=True):
        headers = {"content-type": "image/jpeg"}
        alone = client.post("/v1/tag?score_floor=0.1", content=photo_bytes(seed), headers=headers)
        expected = tags_of(alone.json())
        assert dict(answer) == pytest.approx(dict(expected), abs=1e-5)


@pytest.mark.slow
def test_models_are_served_side_by_side(url: str, second_model: str) -> None:
    first = post(f"{url}/v1/tag", photo_bytes(1))
    images = [{"data": base64.b64encode(photo_bytes(1)).decode()}]
    body = json.dumps({"images": images, "model": second_model}).encode()
    second = post(f"{url}/v1/tag", body, "application/json")
    assert first["model"]["vocabulary_sha256"] == second["model"]["vocabulary_sha256"]
    assert first["model"]["thresholds_sha256"] != second["model"]["thresholds_sha256"]
    assert len(tags_of(second)) > len(tags_of(first))
    with urllib.request.urlopen(f"{url}/v1/models") as answer:
        models = json.load(answer)["models"]
    assert [(model["id"], model["default"]) for model in models] == [
        ("ram-mini", True),
        (second_model, False),
    ]


class Traffic:
    """A steady load in a thread, so that the test can change the server meanwhile."""

    def __init__(self, url: str, rate: float) -> None:
        self._stop = threading.Event()
        self._pool = ThreadPoolExecutor(1)
        self.versions: list[str] = []
        self.last_version = ""
        bodies = [photo_bytes(seed) for seed in SEEDS]
        target = Target(f"{url}/v1/tag?score_floor=0.1", bodies, self._note)
        self._load = self._pool.submit(self._run, target, rate)

    def _note(self, index: int, body: bytes) -> bool:
        del index
        version = json.loads(body)["model"]["thresholds_sha256"]
        self.last_version = version
        if version not in self.versions:
            self.versions.append(version)
        return True

    def _run(self, target: Target, rate: float) -> Load:
        return asyncio.run(open_loop(target, rate=rate, until=lambda _: self._stop.is_set()))

    def stop(self) -> Load:
        self._stop.set()
        load = self._load.result()
        self._pool.shutdown()
        return load


def model_pids() -> set[int]:
    """Return the processes of the model deployment, all of them this test run's children."""
    return {
        process.pid
        for process in psutil.Process().children(recursive=True)
        if f"ServeReplica:{APP_NAME}:model" in " ".join(process.cmdline())
    }


@pytest.mark.slow
def test_an_update_of_the_model_fails_no_request(
    url: str, config: ServeConfig, second_model: str
) -> None:
    from ray import serve

    traffic, old = Traffic(url, rate=4), model_pids()
    try:
        time.sleep(1)
        changed = dataclasses.replace(config, models=(second_model,), thresholds=("dog=0.1",))
        serve.run(application(changed), name=APP_NAME)
        time.sleep(1)
    finally:
        load = traffic.stop()
    assert load.failed() == 0, load.statuses
    assert load.statuses["200"] >= 10
    # in between an old ingress may ask a new model process: a third version, each answer of one
    assert len(traffic.versions) in (2, 3)
    assert traffic.last_version not in traffic.versions[:1]
    assert not old & model_pids()


def test_build_app_reads_a_cluster_files_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ConfigError, match="there are no API keys"):
        build_app({"models": ["ram-mini"]})
    with pytest.raises(ConfigError, match="did you mean"):
        build_app({"limits": {"max_pending_image": 4}})
    monkeypatch.setenv("RAM_RAY_API_KEYS", "alice:secret")
    app = build_app({"replicas": {"max_replicas": 3}, "limits": {"images_per_s": 5}})
    assert app is not None


def test_the_ingress_never_refuses_what_it_accepted() -> None:
    """Calls of accepted images wait without a bound of Serve's, and their replicas drain."""
    config = ServeConfig(limits=LimitConfig(request_timeout_s=45))
    model, ingress = _deployments(config)
    assert model["max_queued_requests"] == -1
    assert model["max_ongoing_requests"] >= 2 * config.batch_size
    assert model["graceful_shutdown_timeout_s"] >= 45
    assert ingress["graceful_shutdown_timeout_s"] >= 45
    assert ingress["max_queued_requests"] >= 0


def _deployments(config: ServeConfig) -> tuple[dict[str, Any], dict[str, Any]]:
    bound = application(config)._bound_deployment
    model = bound.init_args[0]._bound_deployment
    return (
        model._deployment_config.model_dump() | {"name": model.name},
        bound._deployment_config.model_dump() | {"name": bound.name},
    )

"""Starting: what would go wrong is said before anything starts; what is documented works."""

import asyncio
import importlib
import json
import re
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import httpx2
import pytest
import yaml
from ray.serve.schema import ServeDeploySchema
from typer.testing import CliRunner

from ram_ray.cli.app import app as cli
from ram_ray.serving.config import ServeConfig
from ram_ray.serving.deployment import build_app
from ram_ray.serving.ingress_deployment import Ingress
from ram_ray.serving.server import address_of, check_server
from tests.conftest import photo_bytes

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--host", "0.0.0.0"], "host is '0.0.0.0', which others can reach, but there are no API"),
        (["--model", "no-such-model"], "There is no model 'no-such-model'"),
        (["--api-keys", "no-such-file"], "api_keys_file no-such-file cannot be read"),
        (["--thresholds", "dog"], "thresholds is 'dog', but must be tag=number"),
        (["--set", "limits.max_pending_image=3"], "did you mean limits.max_pending_images"),
        (["--set", "limits.burst_images=0"], "burst_images is 0, but must be at least 1"),
        (["--min-replicas", "3"], "max_replicas is 1, but must be at least 3"),
    ],
)
def test_wrong_usage_is_refused_with_a_sentence(arguments: list[str], words: str) -> None:
    ended = CliRunner().invoke(cli, ["serve", *arguments])
    assert ended.exit_code == 2
    assert words in ended.stderr
    assert ended.stderr.count("\n") == 1


def test_a_taken_port_is_refused() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = CliRunner().invoke(cli, ["serve", "--port", str(port)])
    assert ended.exit_code == 2
    assert f"Cannot listen on 127.0.0.1 port {port}" in ended.stderr


def test_what_can_start_is_let_through(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    keys.write_text("a:b\n")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    check_server(ServeConfig(port=port))


def test_addresses_can_be_opened() -> None:
    assert address_of(ServeConfig(host="0.0.0.0", port=80)) == "http://127.0.0.1:80"
    assert address_of(ServeConfig(host="::1", port=80)) == "http://[::1]:80"


def test_the_clusters_file_is_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    loaded = yaml.safe_load((ROOT / "deploy/serve.yaml").read_text(encoding="utf-8"))
    (application,) = ServeDeploySchema.model_validate(loaded).applications
    assert application.args == loaded["applications"][0]["args"]
    module, _, name = application.import_path.partition(":")
    assert getattr(importlib.import_module(module), name) is build_app
    monkeypatch.setenv("RAM_RAY_API_KEYS", "alice:secret")
    build_app(application.args)


def test_the_clients_in_the_docs_work(port: int, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "serving.md").read_text(encoding="utf-8")
    blocks = re.findall(r"```python\n(.*?)```", page, re.DOTALL)
    block = next(block for block in blocks if "def tag(" in block)
    names: dict[str, object] = {"json": json, "urllib": urllib, "httpx2": httpx2, "Path": Path}
    exec(block, names)
    paths = [tmp_path / f"{seed}.jpg" for seed in (1, 2)]
    for seed, path in enumerate(paths, 1):
        path.write_bytes(photo_bytes(seed))
    url = f"http://127.0.0.1:{port}/v1/tag?score_floor=0.1"
    one = names["tag"](paths[0], url)  # pyright: ignore
    both = asyncio.run(names["tag_all"](paths, url))  # pyright: ignore
    assert len(one) > 3
    assert one == both[0] != both[1]


def test_ingress_processes_do_not_load_torch() -> None:
    """They decode and wait; a gigabyte of torch in each would be idle."""
    script = "import sys, ram_ray.serving.ingress_deployment; print('torch' in sys.modules)"
    ended = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ended.stdout.strip() == "False", ended.stderr
    assert Ingress.__module__ == "ram_ray.serving.ingress_deployment"

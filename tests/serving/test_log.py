"""What an operator reads: one JSON line per request and event, of every process."""

import json
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from ram_ray.serving.config import LimitConfig, ServeConfig
from ram_ray.serving.environment import FOLDER
from ram_ray.serving.log import note, relayed_log, set_up_log
from tests.conftest import photo_bytes
from tests.serving.conftest import client_of

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(autouse=True)
def _logging_as_it_was(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(FOLDER, raising=False)
    logger = logging.getLogger("ram_ray")
    before = (logger.handlers[:], logger.level, logger.propagate)
    yield
    logger.handlers[:], logger.propagate = before[0], before[2]
    logger.setLevel(before[1])


def lines_of(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_one_line_per_request(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("RAM_RAY_API_KEYS", "alice:alice-secret")
    key = {"authorization": "Bearer alice-secret"}
    limits = LimitConfig(max_images_per_request=2)
    with client_of(ServeConfig(device="cpu", host="0.0.0.0", limits=limits)) as client:
        set_up_log("info")
        files = [("files", photo_bytes(seed)) for seed in (1, 2)]
        client.post("/v1/tag?top_k=1", files=files, headers=key | {"x-request-id": "mine"})
        client.post("/v1/tag", content=b"x" * 10, headers=JPEG | {"x-api-key": "wrong-secret"})
        client.post("/v1/tag?model=%1B[31m", content=b"x", headers=JPEG | key)
        client.get("/healthz")
        client.get("/nowhere/%1B[31m", headers=key)
    said = capsys.readouterr().err
    first, second, third, fourth = lines_of(said)
    assert first["event"] == "request"
    assert (first["id"], first["client"], first["method"]) == ("mine", "alice", "POST")
    assert (first["route"], first["images"], first["model"]) == ("/v1/tag", 2, "ram-mini")
    assert (first["status"], first["refused"], first["level"]) == (200, None, "info")
    assert 0 < first["ms"] < 60_000
    assert second["route"] == "/v1/tag"
    assert (second["status"], second["refused"], second["client"]) == (401, "unauthorized", None)
    assert (third["status"], third["refused"]) == (404, "unknown_model")
    assert (fourth["route"], fourth["status"]) == ("none", 404)
    assert "secret" not in said
    assert "\x1b" not in said


def test_levels_leave_out_what_is_not_asked_for(
    client: TestClient, capsys: pytest.CaptureFixture[str]
) -> None:
    set_up_log("warning")
    client.post("/v1/tag", content=photo_bytes(1), headers=JPEG)
    note("model_died", level=logging.WARNING, model="m", actor="a" * 1_000)
    (line,) = lines_of(capsys.readouterr().err)
    assert (line["event"], len(line["actor"])) == ("model_died", 303)
    set_up_log("debug")
    client.get("/healthz")
    assert [line["route"] for line in lines_of(capsys.readouterr().err)] == ["/healthz"]


def test_other_messages_of_the_package_are_lines_too(capsys: pytest.CaptureFixture[str]) -> None:
    set_up_log("info")
    try:
        raise ZeroDivisionError("of a bug")
    except ZeroDivisionError:
        logging.getLogger("ram_ray.anything").exception("Two\nlines.")
    (line,) = lines_of(capsys.readouterr().err)
    assert (line["event"], line["level"], line["message"]) == ("message", "error", "Two\nlines.")
    assert line["traceback"].endswith("ZeroDivisionError: of a bug")


def test_lines_of_other_processes_come_out_of_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(FOLDER, str(tmp_path))
    script = "import sys; from ram_ray.serving.log import note, set_up_log\n"
    script += "set_up_log('info')\nfor n in range(500): note('reload', n=n, by=sys.argv[1])"
    with relayed_log():
        children = [subprocess.Popen([sys.executable, "-c", script, name]) for name in "ab"]
        assert [child.wait(timeout=60) for child in children] == [0, 0]
    lines = lines_of(capsys.readouterr().err)
    lost = sum(line.get("lines_lost_before", 0) for line in lines)
    assert len(lines) + lost <= 1_000
    assert [line["n"] for line in lines if line["by"] == "a"][:5] == [0, 1, 2, 3, 4]
    assert len(lines) >= 900
    assert not set(os.listdir(tmp_path)) - {"log"}


def test_sentences_of_the_command_line_steer_no_terminal() -> None:
    command = [sys.executable, "-m", "ram_ray", "verify", "/no\x1b[31m/where\x07"]
    ended = subprocess.run(command, capture_output=True, text=True, check=False)
    assert ended.returncode != 0
    assert "ram-ray: " in ended.stderr
    assert "\x1b" not in ended.stderr
    assert "\x07" not in ended.stderr

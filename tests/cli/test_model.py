"""`ram-ray model` as a person runs it: exit codes, one sentence, machine-readable results."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from ram_model.vocabulary import Vocabulary
from ram_ray.cli import app as cli
from tests.http_server import FileServer
from tests.model.official_state import write_checkpoint
from tests.published import published


def _run(*arguments: str | Path) -> Result:
    return CliRunner().invoke(cli.app, ["model", *map(str, arguments)])


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RAM_RAY_MODELS", str(tmp_path / "home"))
    return tmp_path / "home"


@pytest.fixture
def server(home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    (tmp_path / "published").mkdir()
    with published(tmp_path / "published", monkeypatch) as server:
        yield server


def test_from_not_fetched_to_known_by_name(server: FileServer, home: Path) -> None:
    states = {m["name"]: m["state"] for m in json.loads(_run("list", "--json").stdout)}
    assert states == {
        "ram-mini": "bundled", "ram": "not fetched", "ram-plus": "not fetched",
        "tag2text": "not fetched",
    }  # fmt: skip

    fetched = _run("fetch", "ram")

    assert fetched.exit_code == 0
    assert "the reference's 2 templates" in fetched.stdout
    assert "ram_swin_large_14m.pth: " in fetched.stderr
    assert "(100%)" in fetched.stderr
    listed = json.loads(_run("list", "--json").stdout)
    assert (listed[1]["state"], listed[1]["folder"]) == ("fetched", str(home / "ram"))
    info = json.loads(_run("info", "ram", "--json").stdout)
    assert info["model"] == "ram"
    assert info["vocabulary"]["tags"] == 3
    assert info["templates"] == "the reference's 2 templates"
    assert info["parts"]["classifier"]["parameters"] == 65
    assert (
        info["sources"]["checkpoint"]["sha256"]
        == json.loads((home / "ram" / "sources.json").read_text())["checkpoint"]["sha256"]
    )


def test_info_is_for_people_too_and_damage_is_an_exit_code(server: FileServer, home: Path) -> None:
    assert _run("fetch", "ram-plus", "--no-text-encoder", "--dtype", "float16").exit_code == 0
    shown = _run("info", home / "ram-plus")
    assert shown.exit_code == 0
    for text in (
        "RAM++ in", "2, also in Chinese", "0.50 to 0.60; 1 more are switched off, never shown",
        "F16", "only with --text-encoder", "Apache License", "image encoder",
        "/ram_plus_swin_large_14m.pth, sha256 ",
    ):  # fmt: skip
        assert text in shown.stdout, text
    (home / "ram-plus" / "templates.txt").unlink()
    shown = _run("info", "ram-plus")
    assert shown.exit_code == 1
    assert "templates.txt: differs or is missing" in shown.stdout


def test_info_of_the_bundled_model_shows_its_licence(home: Path) -> None:
    shown = _run("info")
    assert shown.exit_code == 0
    assert "Terms of the ram-mini weights" in shown.stdout
    assert "2 templates of templates.txt" in shown.stdout


def test_convert(home: Path, tmp_path: Path) -> None:
    checkpoint = write_checkpoint(tmp_path / "x.pth")
    tags = tmp_path / "tags.parquet"
    Vocabulary(names=("a", "b", "c"), thresholds=np.full(3, 0.5)).to_parquet(tags)
    done = _run("convert", checkpoint, tmp_path / "m", "--vocabulary", tags, "--json")
    assert done.exit_code == 0
    assert json.loads(done.stdout)["vocabulary"]["tags"] == 3
    again = _run("convert", checkpoint, tmp_path / "m", "--vocabulary", tags)
    assert (again.exit_code, again.stderr) == (
        2, f"ram-ray: {tmp_path / 'm'} holds a model already: choose another folder.\n",
    )  # fmt: skip


def test_exit_codes(server: FileServer, home: Path) -> None:
    assert _run("info", "ram").exit_code == 2
    assert "`ram-ray model fetch ram`" in _run("info", "ram").stderr
    assert _run("fetch", "ram-maxi").exit_code == 2
    assert _run("convert", home / "none.pth", home / "m").exit_code == 2
    del server.files["/ram_tag_list.txt"]
    gone = _run("fetch", "ram")
    assert gone.exit_code == 5
    assert gone.stderr.startswith(f"ram-ray: {server.url}/ram_tag_list.txt cannot be fetched: HTTP")
    listed = json.loads(_run("list", "--json").stdout)
    assert listed[1]["state"] == "incomplete"

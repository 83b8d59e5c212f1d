import fcntl
import hashlib
import os
import shutil
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from ram_model.files.checkpoint import load_official
from ram_model.files.pretrained import open_model
from ram_model.networks.text_generation import CaptionOptions
from ram_model.tagger import Tagger
from ram_ray.errors import ConfigError, IncompleteRunError, UnreachableError
from ram_ray.models import download as download_module
from ram_ray.models import files as published_files
from ram_ray.models.config import FetchConfig
from ram_ray.models.fetch import fetch_model
from ram_ray.models.published import MODELS
from tests.http_server import FileServer
from tests.published import FILES, published

CHECKPOINT = "/ram_swin_large_14m.pth"


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    at_once = partial(download_module.download, pause=lambda _: None)
    monkeypatch.setattr(published_files, "download", at_once)
    files = tmp_path / "published"
    files.mkdir()
    with published(files, monkeypatch) as server:
        yield server


def _config(tmp_path: Path, name: str = "ram", **options: object) -> FetchConfig:
    return FetchConfig(name=name, folder=tmp_path / name, **options)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("name", ["ram", "ram-plus"])
def test_fetched_folder_is_ready(server: FileServer, tmp_path: Path, name: str) -> None:
    facts = fetch_model(_config(tmp_path, name))

    opened = open_model(tmp_path / name)
    source = facts.sources["checkpoint"]
    checkpoint = tmp_path / "published" / source["from"].rpartition("/")[2]
    images = torch.randn(1, 3, 128, 128)
    with torch.inference_mode():
        assert torch.equal(opened.model(images), load_official(checkpoint)[0](images))
    assert opened.vocabulary.names == ("cat", "dog", "sea")
    assert opened.vocabulary.names_zh == ("猫 ", "狗", "海")
    assert opened.vocabulary.thresholds.tolist() == pytest.approx([0.5, 0.6, 1.0])
    assert facts.templates == "the reference's 2 templates"
    assert facts.described_tags == (("Ale",) if name == "ram-plus" else ())
    assert facts.license == "Apache License"
    assert source["sha256"] == hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    assert source["pinned"] is False
    assert facts.sources["ram_tag_list.txt"]["pinned"] is True
    assert not (tmp_path / name / "download").exists()
    # any words: the folder has all they need
    tagger = Tagger.load(tmp_path / name, tags=["red fox", "Ale", "dog"])
    assert "red fox, Ale" in tagger.notes[0]


def test_fetched_tag2text_tags_and_writes_captions(server: FileServer, tmp_path: Path) -> None:
    facts = fetch_model(_config(tmp_path, "tag2text"))

    folder = tmp_path / "tag2text"
    assert facts.has_captions
    assert facts.new_words == "none: its tags are learnt, not text"
    assert {"captions.safetensors", "word_pieces.txt"} <= facts.checksums.keys()
    assert "/clip.bin" not in {path for path, _ in server.requests}
    thresholds = open_model(folder).vocabulary.thresholds
    assert [thresholds[i] for i in (0, 2701, 127)] == pytest.approx([0.68, 0.7, 1.0])
    official, _ = load_official(tmp_path / "published" / "tag2text_swin_14m.pth")
    tagger = Tagger.load(folder, captions=CaptionOptions(max_length=12))
    with torch.inference_mode():
        images = torch.randn(1, 3, 128, 128)
        assert torch.equal(open_model(folder).model(images), official(images))
        assert isinstance(tagger(np.zeros((1, 128, 128, 3), np.uint8))[0].caption, str)
    server.requests.clear()
    fetch_model(_config(tmp_path, "tag2text"))
    assert server.requests == []


def test_interrupted_fetch_goes_on(server: FileServer, tmp_path: Path) -> None:
    size = len(server.files[CHECKPOINT])
    tries = download_module.MAX_FRUITLESS_TRIES

    def kill(name: str, done: int, total: int | None) -> None:
        if name.endswith(".pth") and done > size // 2:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch_model(_config(tmp_path), on_bytes=kill)
    have = (tmp_path / "ram" / "download" / "ram_swin_large_14m.pth.part").stat().st_size
    server.requests.clear()
    server.break_after = [0] * tries
    with pytest.raises(IncompleteRunError, match="run the same command again"):
        fetch_model(_config(tmp_path))
    fetch_model(_config(tmp_path))

    # no small file was fetched again, and of the checkpoint only the rest
    assert {path for path, _ in server.requests} == {CHECKPOINT, "/clip.bin"}
    assert {wanted for path, wanted in server.requests if path == CHECKPOINT} == {f"bytes={have}-"}
    assert open_model(tmp_path / "ram").config.num_tags == 3


def test_complete_folder_needs_no_network(server: FileServer, tmp_path: Path) -> None:
    fetch_model(_config(tmp_path, text_encoder=False))
    server.requests.clear()
    said: list[str] = []
    fetch_model(_config(tmp_path, text_encoder=False), say=said.append)
    assert server.requests == []
    assert said == [f"{tmp_path / 'ram'} is complete."]
    facts = fetch_model(_config(tmp_path), say=said.append)  # now with a text encoder
    assert [path for path, _ in server.requests] == ["/clip.bin"]
    assert facts.has_text_encoder
    assert facts.sources["model"] == "ram"
    assert "checkpoint" in facts.sources


@pytest.mark.parametrize("where", ["folder", "url"])
def test_mirror(server: FileServer, tmp_path: Path, where: str) -> None:
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for path, body in server.files.items():
        (mirror / path.removeprefix("/")).write_bytes(body)
    if where == "folder":
        fetch_model(_config(tmp_path, mirror=str(mirror)))
        assert server.requests == []
        assert list(mirror.glob("*.part*")) == []
    else:
        server.files = {f"/some/place{path}": body for path, body in server.files.items()}
        facts = fetch_model(_config(tmp_path, mirror=f"{server.url}/some/place/"))
        assert facts.sources["LICENSE"]["from"] == f"{server.url}/some/place/LICENSE"
    assert open_model(tmp_path / "ram").config.num_tags == 3


@pytest.mark.parametrize("name", ["ram_tag_list.txt", "ram_tag_list_threshold.txt"])
@pytest.mark.parametrize("where", ["published", "folder"])
def test_changed_file_is_refused(server: FileServer, tmp_path: Path, name: str, where: str) -> None:
    server.files[f"/{name}"] += b"x"
    mirror = tmp_path / "mirror"
    mirror.mkdir()
    for path, body in server.files.items():
        (mirror / path.removeprefix("/")).write_bytes(body)
    with pytest.raises(UnreachableError, match=f"{name} is not the file it should be"):
        fetch_model(_config(tmp_path, mirror=str(mirror) if where == "folder" else None))
    assert not (tmp_path / "ram" / "checksums.json").exists()


def test_changed_templates_are_refused(server: FileServer, tmp_path: Path) -> None:
    server.files["/openset_utils.py"] = b"multiple_templates = ['a {}.']"
    with pytest.raises(UnreachableError, match=r"openset_utils\.py: .* does not hold the 63"):
        fetch_model(_config(tmp_path))


def test_checkpoint_with_another_hash_is_refused(server: FileServer, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match=f"must be {'0' * 64}"):
        fetch_model(_config(tmp_path, sha256="0" * 64))
    right = hashlib.sha256(server.files[CHECKPOINT]).hexdigest()
    facts = fetch_model(_config(tmp_path, sha256=right.upper()))
    assert facts.sources["checkpoint"]["pinned"] is True


def test_truncated_checkpoint_of_a_server_that_does_not_know(
    server: FileServer, tmp_path: Path
) -> None:
    server.files[CHECKPOINT] = server.files[CHECKPOINT][:-1000]
    with pytest.raises(ConfigError, match=r"ram_swin_large_14m\.pth is cut off, or no checkpoint"):
        fetch_model(_config(tmp_path))
    assert not (tmp_path / "ram" / "checksums.json").exists()


def test_next_place_is_asked(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    good = MODELS["ram"].checkpoint
    both = replace(good, urls=(f"{server.url}/gone.pth", *good.urls))
    monkeypatch.setitem(MODELS, "ram", replace(MODELS["ram"], checkpoint=both))
    said: list[str] = []
    facts = fetch_model(_config(tmp_path), say=said.append)
    assert said[0] == f"{server.url}/gone.pth cannot be fetched: HTTP 404. Trying the next place."
    assert facts.sources["checkpoint"]["from"] == good.urls[0]


def test_redirect_and_published_hash(server: FileServer, tmp_path: Path) -> None:
    server.linked_etag = "1" * 64
    with pytest.raises(UnreachableError, match=f"must be {'1' * 64}"):
        fetch_model(_config(tmp_path))


def test_no_space_for_checkpoint_and_folder(
    server: FileServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # room for what is downloaded, not for the model folder after it
    usage = shutil.disk_usage(tmp_path)._replace(free=1_500_000_000)
    monkeypatch.setattr(download_module.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(IncompleteRunError, match=r"1\.7 GB are needed, 1\.5 GB are free"):
        fetch_model(_config(tmp_path))
    assert (tmp_path / "ram" / "download" / "ram_swin_large_14m.pth.part").stat().st_size == 0


class _Payload:
    def __reduce__(self) -> tuple:
        return (eval, ("this must never run",))  # not print: Ray puts its own in its place


def test_payload_is_refused_and_tensors_are_taken_when_asked(
    server: FileServer, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    path = tmp_path / "published" / "ram_swin_large_14m.pth"
    content = torch.load(path, weights_only=True)
    torch.save({**content, "config": _Payload()}, path)
    server.files[CHECKPOINT] = path.read_bytes()
    with pytest.raises(ConfigError, match=r"more than tensors \(eval\).*--tensors-only"):
        fetch_model(_config(tmp_path))
    server.requests.clear()
    fetch_model(_config(tmp_path, tensors_only=True))
    assert server.requests == []  # what was downloaded is still there
    assert open_model(tmp_path / "ram").config.num_tags == 3
    assert "never run" not in capsys.readouterr().out


def test_wrong_kind_of_checkpoint(server: FileServer, tmp_path: Path) -> None:
    server.files[CHECKPOINT] = server.files["/ram_plus_swin_large_14m.pth"]
    with pytest.raises(ConfigError, match="is not the checkpoint of ram"):
        fetch_model(_config(tmp_path))


def test_folders_of_others_are_left_alone(server: FileServer, tmp_path: Path) -> None:
    config = _config(tmp_path, "ram-plus")
    fetch_model(config)
    with pytest.raises(ConfigError, match="holds another model"):
        fetch_model(replace(config, name="ram"))
    with (tmp_path / "ram-plus" / "WEIGHTS_LICENSE").open("ab") as file:
        file.write(b"x")
    with pytest.raises(ConfigError, match=r"is damaged \(WEIGHTS_LICENSE\)"):
        fetch_model(config)


def test_two_fetches_into_one_folder(server: FileServer, tmp_path: Path) -> None:
    (tmp_path / "ram" / "download").mkdir(parents=True)
    lock = os.open(tmp_path / "ram" / "download", os.O_RDONLY)
    fcntl.flock(lock, fcntl.LOCK_EX)
    with pytest.raises(ConfigError, match="Another process is fetching"):
        fetch_model(_config(tmp_path))
    os.close(lock)
    assert fetch_model(_config(tmp_path, keep_download=True)).config.num_tags == 3
    kept = {path.name for path in (tmp_path / "ram" / "download").iterdir()}
    assert {"clip.bin", "LICENSE", "ram_swin_large_14m.pth"} <= kept
    assert FILES.keys() - kept == {
        "openimages_rare_200_llm_tag_descriptions.json", "tag2text_ori_tag_list.txt", "vocab.txt",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"name": "ram-maxi"}, "name is 'ram-maxi', but must be one of ram, ram-plus, tag2text"),
        ({"dtype": "int8"}, "dtype is 'int8'"),
        ({"sha256": "xyz"}, "sha256 is 'xyz', but must be 64 hexadecimal digits"),
    ],
)
def test_wrong_options_are_named(tmp_path: Path, options: dict, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        FetchConfig(**{"name": "ram", "folder": tmp_path, **options})

"""Tiny stand-ins for the published files of the RAM family, served over HTTP."""

import hashlib
import io
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from pathlib import Path

import pytest
import torch

from ram_model.config import Kind, variant
from ram_model.files import conversion
from ram_model.networks.tag2text import Tag2Text
from ram_model.words import prompts
from ram_ray.models import published as published_models
from ram_ray.models.published import MODELS, PublishedFile, PublishedModel
from tests.http_server import FileServer, serve
from tests.model.official_state import write_checkpoint, write_checkpoint_of
from tests.model.tiny_captions import PIECES, captions_config
from tests.model.tiny_clip import tiny_clip

TEMPLATES = ("a {}.", "my {article} {}")
FILES = {
    "ram_tag_list.txt": b"cat\ndog\nsea",
    "ram_tag_list_chinese.txt": "猫 \n狗\n海".encode(),
    "ram_tag_list_threshold.txt": b"0.5\n0.6\n1.0\n",
    "openset_utils.py": f"import clip\nmultiple_templates = {list(TEMPLATES)!r}\n".encode(),
    "openimages_rare_200_llm_tag_descriptions.json": json.dumps([{"Ale": ["Beer."]}]).encode(),
    "LICENSE": b"Apache License\nVersion 2.0",
    "tag2text_ori_tag_list.txt": "\n".join(f"tag {i}" for i in range(3429)).encode(),
    "vocab.txt": "\n".join(PIECES).encode(),
}


@contextmanager
def published(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FileServer]:
    """Serve the stand-ins, and let `MODELS` and the templates' checksum mean them."""
    files = dict(FILES)
    kinds: tuple[tuple[str, Kind], ...] = (("ram_swin", "ram"), ("ram_plus_swin", "ram_plus"))
    for name, kind in kinds:
        path = write_checkpoint(folder / f"{name}_large_14m.pth", kind)
        files[path.name] = path.read_bytes()
    path = folder / "tag2text_swin_14m.pth"
    config = variant("tiny", kind="tag2text", num_tags=3429)
    tag2text = Tag2Text(replace(config, captions=captions_config()))
    files[path.name] = write_checkpoint_of(tag2text, path).read_bytes()
    monkeypatch.setattr(conversion, "RELEASED_CAPTIONS", captions_config())
    weights = io.BytesIO()
    torch.save(tiny_clip().state_dict(), weights)
    files["clip.bin"] = weights.getvalue()
    sha256 = prompts.templates_sha256(TEMPLATES)
    monkeypatch.setattr(prompts, "REFERENCE_TEMPLATES_SHA256", sha256)
    with serve({f"/{name}": body for name, body in files.items()}) as server:
        for name, model in list(MODELS.items()):
            monkeypatch.setitem(published_models.MODELS, name, _moved(model, server, files))
        yield server


def _moved(model: PublishedModel, server: FileServer, files: dict[str, bytes]) -> PublishedModel:
    def moved(file: PublishedFile, *, name: str | None = None) -> PublishedFile:
        name = name or file.name
        pin = None if file.sha256 is None else hashlib.sha256(files[name]).hexdigest()
        return PublishedFile(name=name, urls=(f"{server.url}/{name}",), sha256=pin)

    parts = {
        part: moved(file, name="clip.bin" if part == "text_encoder" else None)
        for part in (field.name for field in fields(model))
        if isinstance(file := getattr(model, part), PublishedFile)
    }
    return replace(model, **parts)

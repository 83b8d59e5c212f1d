"""Published models to model folders: download what is missing, check it, convert it."""

import fcntl
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from ram_model.config import RamConfig, variant
from ram_model.files.checkpoint import CHECKSUMS
from ram_model.files.conversion import (
    RELEASED_CAPTIONS,
    FolderParts,
    add_parts,
    convert_checkpoint,
    converted_bytes,
    open_checkpoint,
)
from ram_model.files.inspection import ModelFacts, inspect_folder
from ram_ray.errors import ConfigError
from ram_ray.models.config import FetchConfig
from ram_ray.models.convert import user_errors
from ram_ray.models.files import OnBytes, PublishedFiles, Say
from ram_ray.models.published import CLIP_BYTES, MODELS, TEXT_TOWER_BYTES, PublishedModel


def fetch_model(
    config: FetchConfig,
    *,
    on_bytes: OnBytes = lambda name, done, total: None,
    say: Say = lambda sentence: None,
) -> ModelFacts:
    """Make `config.folder` the folder of a published model; what is there already stays.

    Raises:
        ConfigError: the folder holds another model, or a downloaded file is not what it should be.
        UnreachableError: a file cannot be had, or is not the published one.
        IncompleteRunError: a connection broke or a disk is full; the same call goes on from there.
    """
    with _locked(config.folder), user_errors(config.folder):
        files = PublishedFiles(config.folder, mirror=config.mirror, on_bytes=on_bytes, say=say)
        if (config.folder / CHECKSUMS).is_file():
            facts = _complete(config, files, say)
        else:
            facts = _make(config, files, say)
        if not config.keep_download:
            shutil.rmtree(PublishedFiles.place(config.folder))
    return facts


def _make(config: FetchConfig, files: PublishedFiles, say: Say) -> ModelFacts:
    """Download everything and convert it; the small files first, because they fail fastest."""
    model = MODELS[config.name]
    vocabulary = files.vocabulary(model)
    templates = files.templates(model)
    described = files.obtain_if(model.descriptions)
    word_pieces = files.obtain_if(model.word_pieces)
    license = files.obtain(model.license)
    needed = converted_bytes(_config_of(model), config.dtype)
    needed += (CLIP_BYTES + TEXT_TOWER_BYTES) * _wants_text_encoder(config)
    weights = files.obtain(model.checkpoint, spare_bytes=needed, sha256=config.sha256)
    encoder = _text_encoder(config, files)
    say(f"Converting {weights.name}.")
    checkpoint = open_checkpoint(weights, tensors_only=config.tensors_only)
    if checkpoint.config.kind != model.kind:
        raise ConfigError(f"{weights} is not the checkpoint of {model.name}.")
    parts = FolderParts(
        templates=templates,
        descriptions=described,
        text_encoder=encoder,
        word_pieces=word_pieces,
        license=license,
        sources=_sources(config, files),
    )
    return convert_checkpoint(checkpoint, config.folder, vocabulary, parts, dtype=config.dtype)


def _complete(config: FetchConfig, files: PublishedFiles, say: Say) -> ModelFacts:
    """Return the facts of a folder that is there, after adding a text encoder it may lack."""
    model = MODELS[config.name]
    facts = inspect_folder(config.folder, config.name)
    if facts.config.kind != model.kind or facts.sources.get("model") != model.name:
        raise ConfigError(f"{config.folder} holds another model: choose another folder.")
    if facts.damaged:
        raise ConfigError(
            f"{config.folder} is damaged ({', '.join(facts.damaged)}): delete it and fetch again."
        )
    if facts.has_text_encoder or not _wants_text_encoder(config):
        say(f"{config.folder} is complete.")
        return facts
    encoder = _text_encoder(config, files)
    say("Adding the text encoder.")
    parts = FolderParts(text_encoder=encoder, sources=_sources(config, files))
    return add_parts(config.folder, parts)


def _text_encoder(config: FetchConfig, files: PublishedFiles) -> Path | None:
    clip = MODELS[config.name].text_encoder
    if clip is None or not config.text_encoder:
        return None
    return files.obtain(clip, spare_bytes=TEXT_TOWER_BYTES)


def _wants_text_encoder(config: FetchConfig) -> bool:
    return config.text_encoder and MODELS[config.name].text_encoder is not None


def _sources(config: FetchConfig, files: PublishedFiles) -> dict[str, Any]:
    """Return where the files came from, the checkpoint under that name."""
    checkpoint = MODELS[config.name].checkpoint.name
    renamed = {"checkpoint" if n == checkpoint else n: s for n, s in files.sources.items()}
    return {"model": config.name, **renamed}


def _config_of(model: PublishedModel) -> RamConfig:
    captions = None if model.word_pieces is None else RELEASED_CAPTIONS
    return replace(variant(model.size, kind=model.kind), captions=captions)


@contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Keep a second fetch out of the folder."""
    place = PublishedFiles.place(folder)
    try:
        place.mkdir(parents=True, exist_ok=True)
        lock = os.open(place, os.O_RDONLY)
    except OSError as error:
        raise ConfigError(f"folder {folder} cannot be written: {error.strerror}.") from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise ConfigError(f"Another process is fetching into {folder}.") from error
        yield
    finally:
        os.close(lock)

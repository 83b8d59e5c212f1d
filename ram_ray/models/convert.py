"""Checkpoint files on this machine to model folders."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ram_model.config import Kind, RamConfig, variant
from ram_model.files.conversion import (
    FolderParts,
    convert_checkpoint,
    converted_bytes,
    open_checkpoint,
)
from ram_model.files.inspection import ModelFacts
from ram_model.vocabulary import Vocabulary
from ram_model.weight_files import file_sha256
from ram_ray.errors import ConfigError, IncompleteRunError
from ram_ray.models.config import ConvertConfig
from ram_ray.models.files import PublishedFiles
from ram_ray.models.published import BERT_VOCABULARY, MODELS


def convert_model(config: ConvertConfig) -> ModelFacts:
    """Make `config.folder` the folder of a checkpoint.

    Raises:
        ConfigError: a file is not what it should be, or the folder holds a model already.
        UnreachableError: the published tags cannot be had.
        IncompleteRunError: the disk is too full.
    """
    with user_errors(config.folder):
        checkpoint = open_checkpoint(
            config.checkpoint,
            captions=config.captions,
            weights=config.weights,
            tensors_only=config.tensors_only,
        )
        check_space(config.folder, converted_bytes(checkpoint.config, config.dtype))
        files = PublishedFiles(config.folder, mirror=config.mirror)
        vocabulary = _vocabulary(config, checkpoint.config, files)
        word_pieces = config.word_pieces
        if word_pieces is None and checkpoint.config.captions is not None:
            word_pieces = files.obtain(BERT_VOCABULARY)
        source = {"from": config.checkpoint.name, "sha256": file_sha256(config.checkpoint)}
        parts = FolderParts(
            templates=config.templates,
            descriptions=config.descriptions,
            text_encoder=config.text_encoder,
            word_pieces=word_pieces,
            license=config.license,
            sources={"checkpoint": source, **files.sources, **_own_sources(config)},
        )
        facts = convert_checkpoint(checkpoint, config.folder, vocabulary, parts, dtype=config.dtype)
    shutil.rmtree(PublishedFiles.place(config.folder), ignore_errors=True)
    return facts


def check_space(folder: Path, needed: int) -> None:
    """Check that the disk of a folder, which may not exist yet, has room.

    Raises:
        IncompleteRunError: it has not.
    """
    place = next(p for p in (folder.absolute(), *folder.absolute().parents) if p.is_dir())
    free = shutil.disk_usage(place).free
    if needed > free:
        raise IncompleteRunError(
            f"Not enough disk space for {folder}: {needed / 1e9:.1f} GB are needed, "
            f"{free / 1e9:.1f} GB are free; make room and run the same command again."
        )


@contextmanager
def user_errors(folder: Path) -> Iterator[None]:
    """Turn what the model side and the disk say into errors with exit codes."""
    try:
        yield
    except ConfigError:
        raise
    except ValueError as error:  # ram_model's errors are ValueErrors, each one sentence
        raise ConfigError(str(error)) from error
    except OSError as error:
        raise IncompleteRunError(
            f"{folder} cannot be written ({error.strerror or error}); make room and run the same "
            f"command again."
        ) from error


def published_num_tags(kind: Kind) -> int:
    """Return how many tags the published lists of a kind of model have."""
    return variant("swin_l_384", kind=kind).num_tags


def _vocabulary(config: ConvertConfig, model: RamConfig, files: PublishedFiles) -> Vocabulary:
    if config.vocabulary is not None:
        return Vocabulary.from_parquet(config.vocabulary)
    if model.num_tags != published_num_tags(model.kind):
        raise ConfigError(
            f"vocabulary is missing: the checkpoint has {model.num_tags} tags, the published "
            f"lists have {published_num_tags(model.kind)}."
        )
    return files.vocabulary(next(m for m in MODELS.values() if m.kind == model.kind))


def _own_sources(config: ConvertConfig) -> dict[str, Any]:
    """Return where the parts that were given came from."""
    given = {"vocabulary": config.vocabulary, "word_pieces": config.word_pieces}
    return {
        name: {"from": path.name, "sha256": file_sha256(path)}
        for name, path in given.items()
        if path is not None
    }

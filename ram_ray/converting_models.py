"""Checkpoint files on this machine to model folders."""

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ram_model.checkpoint import file_sha256
from ram_model.config import RamConfig, variant
from ram_model.conversion import (
    DTYPES,
    FolderParts,
    convert_checkpoint,
    converted_bytes,
    open_checkpoint,
)
from ram_model.inspection import ModelFacts
from ram_model.vocabulary import Vocabulary
from ram_ray.config import require
from ram_ray.errors import ConfigError, IncompleteRunError
from ram_ray.published_files import PublishedFiles
from ram_ray.published_models import MODELS


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertConfig:
    """`ram-ray model convert`: which checkpoint, into which folder, with which parts."""

    checkpoint: Path
    """Official `.pth` file of RAM or RAM++."""
    folder: Path
    """Becomes the model folder."""
    vocabulary: Path | None = None
    """Parquet file with the tags (`Vocabulary.to_parquet`); None: the published tags."""
    mirror: str | None = None
    """URL or folder with the published tag lists by name; None: where they are published."""
    templates: Path | None = None
    """Prompt templates, one a line; None: open_clip's."""
    descriptions: Path | None = None
    """JSON file in the published format, for RAM++."""
    text_encoder: Path | None = None
    """Folder or weight file of a CLIP, for new words."""
    license: Path | None = None
    """Licence text of the weights."""
    dtype: str = "float32"
    """Of the weights on disk."""
    tensors_only: bool = False
    """Skip, unrun, what the file holds besides tensors."""

    def __post_init__(self) -> None:
        require(self.dtype in DTYPES, "dtype", self.dtype, f"one of {', '.join(DTYPES)}")
        for name in ("checkpoint", "vocabulary", "templates", "descriptions", "license"):
            path = getattr(self, name)
            require(path is None or path.is_file(), name, str(path), "a file that exists")


def convert_model(config: ConvertConfig) -> ModelFacts:
    """Make `config.folder` the folder of a checkpoint.

    Raises:
        ConfigError: a file is not what it should be, or the folder holds a model already.
        UnreachableError: the published tags cannot be had.
        IncompleteRunError: the disk is too full.
    """
    with user_errors(config.folder):
        checkpoint = open_checkpoint(config.checkpoint, tensors_only=config.tensors_only)
        if checkpoint.config.kind == "tag2text":
            raise ConfigError("This is a Tag2Text checkpoint, which this version cannot convert.")
        check_space(config.folder, converted_bytes(checkpoint.config, config.dtype))
        vocabulary, tags_from = _vocabulary(config, checkpoint.config)
        source = {"from": config.checkpoint.name, "sha256": file_sha256(config.checkpoint)}
        parts = FolderParts(
            templates=config.templates,
            descriptions=config.descriptions,
            text_encoder=config.text_encoder,
            license=config.license,
            sources={"checkpoint": source, **tags_from},
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


def published_num_tags() -> int:
    """Return how many tags the published lists of RAM and RAM++ have."""
    return variant("swin_l_384").num_tags


def _vocabulary(config: ConvertConfig, model: RamConfig) -> tuple[Vocabulary, Mapping[str, Any]]:
    """Return the tags, and where they came from."""
    if config.vocabulary is not None:
        sha256 = file_sha256(config.vocabulary)
        source = {"from": config.vocabulary.name, "sha256": sha256}
        return Vocabulary.from_parquet(config.vocabulary), {"vocabulary": source}
    published = next(m for m in MODELS.values() if m.kind == model.kind)
    if model.num_tags != published_num_tags():
        raise ConfigError(
            f"vocabulary is missing: the checkpoint has {model.num_tags} tags, the published "
            f"lists have {published_num_tags()}."
        )
    files = PublishedFiles(config.folder, mirror=config.mirror)
    return files.vocabulary(published), files.sources

"""Official checkpoints to model folders: `ram-ray model convert`."""

import json
import shutil
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

from ram_model.checkpoint import (
    file_sha256,
    from_official,
    read_official,
    write_checksums,
    write_folder,
)
from ram_model.config import RamConfig
from ram_model.errors import CheckpointError
from ram_model.label_embeddings import DESCRIPTIONS, TEMPLATES, TEXT_ENCODER
from ram_model.prompts import read_descriptions, read_templates
from ram_model.text_encoder import load_text_encoder
from ram_model.vocabulary import Vocabulary

LICENSE, CARD, SOURCES = "WEIGHTS_LICENSE", "MODEL_CARD.md", "sources.json"
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderParts:
    """What a model folder gets besides weights and vocabulary; each is checked first."""

    templates: Path | None = None
    """Prompt templates, one a line; None: open_clip's are used."""
    descriptions: Path | None = None
    """Sentences about tags, JSON in the published format (RAM++)."""
    text_encoder: Path | None = None
    """Folder or weight file of a CLIP, whose text tower is kept."""
    license: Path | None = None
    """Licence text of the weights."""
    sources: dict[str, Any] = field(default_factory=dict)
    """Where things came from, by name; becomes sources.json."""


def convert_checkpoint(
    checkpoint: str | Path,
    folder: str | Path,
    vocabulary: Vocabulary,
    parts: FolderParts | None = None,
    *,
    dtype: str = "float32",
    tensors_only: bool = False,
) -> RamConfig:
    """Write the model folder of an official `.pth` file; return its configuration.

    The file is memory-mapped; the optimizer's state and what only captions need is never read.
    In float32 the weights go from map to file without a copy in memory.

    Args:
        vocabulary: as many tags as the checkpoint.
        dtype: of the weights on disk: float32, float16 or bfloat16.
        tensors_only: also take a file that holds other objects; they are skipped, not run.

    Raises:
        CheckpointError: not such a file, any key too many or missing, or another number of tags.
        LabelError: a part that cannot be used.
        OSError: the folder cannot be written.
    """
    config, state = from_official(read_official(checkpoint, tensors_only=tensors_only))
    folder = Path(folder)
    if config.kind != "ram_plus" and parts is not None and parts.descriptions is not None:
        raise CheckpointError("descriptions are for RAM++, but this is another checkpoint.")
    write_folder(state, config, vocabulary, folder, dtype=DTYPES[dtype])
    parts = parts or FolderParts()
    if "checkpoint" not in parts.sources:
        source = {"file": Path(checkpoint).name, "sha256": file_sha256(Path(checkpoint))}
        parts = replace(parts, sources={**parts.sources, "checkpoint": source})
    add_parts(folder, config, parts)
    return config


def add_parts(folder: Path, config: RamConfig, parts: FolderParts) -> None:
    """Add parts to a model folder that has its weights; those it had before stay.

    Raises:
        LabelError: a part that cannot be used.
    """
    written = []
    if parts.templates is not None:
        read_templates(parts.templates)
        written.append(shutil.copyfile(parts.templates, folder / TEMPLATES))
    if parts.descriptions is not None:
        read_descriptions(parts.descriptions)
        written.append(shutil.copyfile(parts.descriptions, folder / DESCRIPTIONS))
    if parts.text_encoder is not None:
        encoder = load_text_encoder(parts.text_encoder)
        if encoder.config.embed_dim != config.label_dim:
            raise CheckpointError(
                f"The text encoder makes vectors of {encoder.config.embed_dim} numbers, but the "
                f"model's labels have {config.label_dim}."
            )
        written += encoder.save(folder / TEXT_ENCODER)
    if parts.license is not None:
        written.append(shutil.copyfile(parts.license, folder / LICENSE))
    written.append(_write_sources(folder, parts.sources))
    write_checksums(folder, [path.relative_to(folder).as_posix() for path in written])


def _write_sources(folder: Path, sources: dict[str, Any]) -> Path:
    path = folder / SOURCES
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known |= {"converted_at": datetime.now(UTC).isoformat(timespec="seconds")} | sources
    path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return path

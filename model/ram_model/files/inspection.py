"""What a model folder holds, found out without loading the model: `ram-ray model info`."""

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from ram_model.config import Kind, RamConfig
from ram_model.errors import CheckpointError
from ram_model.files.caption_files import CAPTION_WEIGHTS
from ram_model.files.checkpoint import CHECKSUMS, CONFIG, VOCABULARY, WEIGHTS
from ram_model.files.costs import PartCost, count_costs
from ram_model.vocabulary import OFF, Vocabulary
from ram_model.weight_files import file_sha256
from ram_model.words.label_embeddings import DESCRIPTIONS, TEMPLATES, TEXT_ENCODER
from ram_model.words.prompts import (
    describe_templates,
    open_clip_templates,
    read_descriptions,
    read_templates,
)
from ram_model.words.text_encoder import WEIGHTS as TEXT_ENCODER_WEIGHTS

LICENSE, CARD, SOURCES = "WEIGHTS_LICENSE", "MODEL_CARD.md", "sources.json"
TITLES: dict[Kind, str] = {"ram": "RAM", "ram_plus": "RAM++", "tag2text": "Tag2Text"}


@dataclass(frozen=True, kw_only=True, slots=True)
class ModelFacts:
    """A model folder, described."""

    model_id: str
    folder: Path
    config: RamConfig
    costs: dict[str, PartCost]
    weights_bytes: int
    """Size of the weight files, the caption side's included."""
    weights_dtypes: tuple[str, ...]
    """As safetensors writes them: F32, F16, BF16."""
    vocabulary: Vocabulary
    has_captions: bool
    """The folder holds a caption side."""
    has_text_encoder: bool
    templates: str
    """Which prompt templates new words get, in a few words."""
    described_tags: tuple[str, ...]
    """Words that the folder holds descriptions of."""
    license: str | None
    """First line of WEIGHTS_LICENSE; None where there is no such file."""
    sources: dict[str, Any]
    """Where the folder's parts came from (sources.json)."""
    checksums: dict[str, str]
    """sha256 by file, as recorded."""
    damaged: tuple[str, ...]
    """Recorded files that are absent or are not what was recorded."""

    @property
    def title(self) -> str:
        """RAM, RAM++ or Tag2Text."""
        return TITLES[self.config.kind]

    @property
    def new_words(self) -> str:
        """Say what words outside the vocabulary are made of, or why there can be none."""
        if self.config.train_labels:
            return "none: its tags are learnt, not text"
        if self.config.kind == "ram_plus":
            made = f"{self.templates}; {len(self.described_tags)} words have descriptions"
        else:
            made = self.templates
        return made if self.has_text_encoder else f"only with --text-encoder ({made})"

    def to_json(self) -> dict[str, Any]:
        """Return all facts in types of JSON; the vocabulary in numbers."""
        return {
            "model": self.model_id,
            "folder": str(self.folder),
            "config": asdict(self.config),
            "parts": {name: cost._asdict() for name, cost in self.costs.items()},
            "weights": {"bytes": self.weights_bytes, "dtypes": self.weights_dtypes},
            "vocabulary": {
                "tags": len(self.vocabulary),
                "switched_off": int((self.vocabulary.thresholds >= OFF).sum()),
                "chinese": any(self.vocabulary.names_zh),
                "sha256": self.vocabulary.sha256,
                "thresholds_sha256": self.vocabulary.thresholds_sha256,
            },
            "captions": self.has_captions,
            "text_encoder": self.has_text_encoder,
            "templates": self.templates,
            "described_tags": len(self.described_tags),
            "license": self.license,
            "sources": self.sources,
            "checksums": self.checksums,
            "damaged": self.damaged,
        }


def inspect_folder(folder: str | Path, model_id: str | None = None) -> ModelFacts:
    """Return the facts of a model folder; every recorded checksum is computed anew.

    Raises:
        CheckpointError: a file that says what the model is cannot be read.
        LabelError: its templates or descriptions cannot be read.
    """
    folder = Path(folder)
    checksums = _read_json(folder / CHECKSUMS)
    try:
        config = RamConfig.from_json((folder / CONFIG).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{folder / CONFIG} cannot be read: {error}") from error
    own_templates = (folder / TEMPLATES).is_file()
    described = (folder / DESCRIPTIONS).is_file()
    has_captions = config.captions is not None and (folder / CAPTION_WEIGHTS).is_file()
    return ModelFacts(
        model_id=str(folder) if model_id is None else model_id,
        folder=folder,
        config=config,
        costs=count_costs(config),
        weights_bytes=_size(folder / WEIGHTS)
        + (_size(folder / CAPTION_WEIGHTS) if has_captions else 0),
        weights_dtypes=_dtypes(folder / WEIGHTS),
        vocabulary=Vocabulary.from_parquet(folder / VOCABULARY),
        has_captions=has_captions,
        has_text_encoder=(folder / TEXT_ENCODER / TEXT_ENCODER_WEIGHTS).is_file(),
        templates=describe_templates(
            read_templates(folder / TEMPLATES) if own_templates else open_clip_templates(),
            TEMPLATES if own_templates else "open_clip",
        ),
        described_tags=tuple(read_descriptions(folder / DESCRIPTIONS)) if described else (),
        license=_first_line(folder / LICENSE),
        sources=_read_json(folder / SOURCES) if (folder / SOURCES).is_file() else {},
        checksums=checksums,
        damaged=find_damage(folder, checksums),
    )


def find_damage(folder: Path, checksums: dict[str, str]) -> tuple[str, ...]:
    """Return the files of a model folder that are absent or not what their checksum says."""
    return tuple(
        name
        for name, recorded in checksums.items()
        if not (folder / name).is_file() or file_sha256(folder / name) != recorded
    )


def _read_json(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (OSError, TypeError, ValueError) as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError as error:
        raise CheckpointError(f"{path} cannot be read: {error}") from error


def _dtypes(path: Path) -> tuple[str, ...]:
    """Return the number formats in a weight file, from its header."""
    try:
        with safe_open(path, "pt") as file:
            return tuple(sorted({file.get_slice(name).get_dtype() for name in file.keys()}))
    except (OSError, SafetensorError) as error:
        raise CheckpointError(f"{path} is not a safetensors file: {error}") from error


def _first_line(path: Path) -> str | None:
    if not path.is_file():
        return None
    lines = (
        line.strip() for line in path.read_text(encoding="utf-8", errors="replace").split("\n")
    )
    return next((line for line in lines if line), "")

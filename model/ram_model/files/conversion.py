"""Official checkpoints to model folders: `ram-ray model convert`."""

import json
import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch
from torch import Tensor

from ram_model.config import CaptionConfig, Dtype, RamConfig
from ram_model.errors import CaptionError, CheckpointError
from ram_model.files.caption_files import check_word_pieces
from ram_model.files.checkpoint import CHECKSUMS, check_tags_fit, write_checksums, write_folder
from ram_model.files.costs import total
from ram_model.files.inspection import CARD, LICENSE, SOURCES, ModelFacts, inspect_folder
from ram_model.files.official_checkpoint import from_official, read_official
from ram_model.networks.filling import build_on_meta
from ram_model.vocabulary import OFF, Vocabulary
from ram_model.words.label_embeddings import DESCRIPTIONS, TEMPLATES, TEXT_ENCODER
from ram_model.words.prompts import read_descriptions, read_templates
from ram_model.words.text_encoder import TextEncoder, load_text_encoder

RELEASED_CAPTIONS = CaptionConfig()
"""Of the caption side; its numbers of heads leave no trace in the weights."""
DTYPES: dict[str, torch.dtype] = {name: getattr(torch, name) for name in get_args(Dtype)}


class Checkpoint(NamedTuple):
    """An official checkpoint, memory-mapped and checked key by key."""

    config: RamConfig
    state: Mapping[str, Tensor]
    """Under our names; without the caption side where `config` has none."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FolderParts:
    """What a model folder gets besides weights and vocabulary."""

    templates: Path | None = None
    """Prompt templates, one a line; None: open_clip's are used."""
    descriptions: Path | None = None
    """Sentences about tags, JSON in the published format (RAM++)."""
    text_encoder: Path | None = None
    """Folder or weight file of a CLIP, whose text tower is kept."""
    word_pieces: Path | None = None
    """The vocab.txt of bert-base-uncased, which a caption side needs."""
    license: Path | None = None
    """Licence text of the weights."""
    sources: Mapping[str, Any] = field(default_factory=dict)
    """Where things came from, by name; becomes sources.json."""


def open_checkpoint(
    path: str | Path,
    *,
    captions: bool | None = None,
    weights: str | None = None,
    tensors_only: bool = False,
) -> Checkpoint:
    """Return the model in a checkpoint of official layout, without reading its weights.

    The file is memory-mapped; the optimizer's state and what is not kept stay on disk.

    Args:
        captions: keep the caption side; None: of Tag2Text, but not of RAM, which writes captions
            in training only.
        weights: which of several state dicts, as of `read_official`.
        tensors_only: also take a file that holds other objects; they are skipped, not run.

    Raises:
        CheckpointError: not such a file, or any key too many or missing.
    """
    state = read_official(path, weights=weights, tensors_only=tensors_only)
    tagging = Checkpoint(*from_official(state))
    if captions is None:
        captions = tagging.config.kind == "tag2text"
    return Checkpoint(*from_official(state, captions=RELEASED_CAPTIONS)) if captions else tagging


def convert_checkpoint(
    checkpoint: Checkpoint,
    folder: str | Path,
    vocabulary: Vocabulary,
    parts: FolderParts | None = None,
    *,
    dtype: str = "float32",
) -> ModelFacts:
    """Write the model folder of an official checkpoint; return what it holds.

    Every part is checked before anything is written, and checksums.json comes last: without it
    there is no model. In float32 the weights go from map to file without a copy in memory; in 16
    bit they pass through memory once.

    Args:
        vocabulary: as many tags as the checkpoint.
        dtype: of the weights on disk: float32, float16 or bfloat16.

    Raises:
        CheckpointError: another number of tags, or the folder holds a model already.
        LabelError: a part that cannot be used.
        CaptionError: a caption side without word pieces that fit it.
        OSError: the folder cannot be written.
    """
    folder, parts = Path(folder), parts or FolderParts()
    config = checkpoint.config
    check_tags_fit(config, vocabulary)
    encoder = _check_parts(config, parts)
    if (folder / CHECKSUMS).exists():
        raise CheckpointError(f"{folder} holds a model already: choose another folder.")
    folder.mkdir(parents=True, exist_ok=True)
    written = _write_parts(folder, parts, encoder)
    write_folder(
        checkpoint.state,
        config,
        vocabulary,
        folder,
        dtype=DTYPES[dtype],
        word_pieces=parts.word_pieces,
        parts=written,
    )
    return _write_card(folder)


def add_parts(folder: str | Path, parts: FolderParts) -> ModelFacts:
    """Add parts to a model folder; those it had before stay. Return what it holds now.

    Raises:
        CheckpointError: not a model folder.
        LabelError: a part that cannot be used.
    """
    folder = Path(folder)
    encoder = _check_parts(inspect_folder(folder).config, parts)
    write_checksums(folder, _write_parts(folder, parts, encoder))
    return _write_card(folder)


def converted_bytes(config: RamConfig, dtype: str = "float32") -> int:
    """Return the size of the weights of a converted model on disk, within a few kB."""
    numbers = sum(tensor.numel() for tensor in build_on_meta(config).state_dict().values())
    return numbers * DTYPES[dtype].itemsize


def _check_parts(config: RamConfig, parts: FolderParts) -> TextEncoder | None:
    """Return the text encoder among the parts, after a check of all of them."""
    if parts.templates is not None:
        read_templates(parts.templates)
    if parts.descriptions is not None:
        if config.kind != "ram_plus":
            raise CheckpointError("descriptions are for RAM++, but this is another checkpoint.")
        read_descriptions(parts.descriptions)
    if config.captions is not None:
        if parts.word_pieces is None:
            raise CaptionError("This checkpoint writes captions: name its word_pieces.")
        check_word_pieces(parts.word_pieces, config.captions.vocab_size)
    elif parts.word_pieces is not None:
        raise CaptionError("word_pieces are for captions, which are not kept here.")
    if parts.text_encoder is None:
        return None
    if config.train_labels:
        raise CheckpointError("A text_encoder is for new words, but this model takes none.")
    encoder = load_text_encoder(parts.text_encoder)
    if encoder.config.embed_dim != config.label_dim:
        raise CheckpointError(
            f"The text encoder makes vectors of {encoder.config.embed_dim} numbers, but the "
            f"model's labels have {config.label_dim}."
        )
    return encoder


def _write_parts(folder: Path, parts: FolderParts, encoder: TextEncoder | None) -> list[str]:
    """Write the parts into the folder; return the names of the files."""
    written = []
    for source, name in (
        (parts.templates, TEMPLATES),
        (parts.descriptions, DESCRIPTIONS),
        (parts.license, LICENSE),
    ):
        if source is not None:
            written.append(shutil.copyfile(source, folder / name))
    if encoder is not None:
        written += encoder.save(folder / TEXT_ENCODER)
    written.append(_write_sources(folder, parts.sources))
    return [path.relative_to(folder).as_posix() for path in written]


def _write_sources(folder: Path, sources: Mapping[str, Any]) -> Path:
    path = folder / SOURCES
    known = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    known |= {"converted_at": datetime.now(UTC).isoformat(timespec="seconds"), **sources}
    path.write_text(json.dumps(known, indent=2) + "\n", encoding="utf-8")
    return path


def _write_card(folder: Path) -> ModelFacts:
    facts = inspect_folder(folder)
    (folder / CARD).write_text(card_text(facts), encoding="utf-8")
    return facts


def card_text(facts: ModelFacts) -> str:
    """Return the MODEL_CARD.md of a converted folder: what it is, in Markdown."""
    config, vocabulary = facts.config, facts.vocabulary
    cost = total(facts.costs)
    checkpoint = facts.sources.get("checkpoint", {})
    off = int((vocabulary.thresholds >= OFF).sum())
    parts = ", ".join(f"{name} {c.gflop:.1f}" for name, c in facts.costs.items() if c.gflop >= 0.05)
    rows = [
        ("kind", f"{facts.title}, official weights converted by ram-ray"),
        ("checkpoint", f"{checkpoint.get('from', 'unknown')}, sha256 {checkpoint.get('sha256')}"),
        ("input", f"{config.image_size_px} x {config.image_size_px} px, RGB"),
        ("tags", f"{len(vocabulary)}, of which {off} are switched off (threshold 1.0)"),
        ("size", f"{cost.parameters / 1e6:.1f} M parameters, {', '.join(facts.weights_dtypes)}"),
        ("cost", f"{cost.gflop:.1f} GFLOP per image: {parts}"),
        ("new words", facts.new_words),
        ("captions", "yes" if facts.has_captions else "no"),
        ("licence of the weights", facts.license or "none came with them: see where they are from"),
    ]
    table = "\n".join(f"| {name} | {value} |" for name, value in rows)
    return f"# {facts.title}\n\n| | |\n|---|---|\n{table}\n"

"""Model folders: weights in and out, every file checked by its sha256.

A model folder holds config.json, model.safetensors, vocabulary.parquet and checksums.json
(sha256 of each of the others), and may hold MODEL_CARD.md and a caption side
(`ram_model.files.caption_files`). Official `.pth` files: `ram_model.files.official_checkpoint`.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ram_model.config import RamConfig
from ram_model.errors import CaptionError, CheckpointError
from ram_model.files.caption_files import CAPTION_PREFIX, read_caption_files, write_caption_files
from ram_model.files.official_checkpoint import from_official, load_official, read_official
from ram_model.networks.filling import build_model, build_on_meta, check_state, fill_model
from ram_model.networks.ram import Ram
from ram_model.vocabulary import Vocabulary
from ram_model.weight_files import file_sha256, write_weights
from ram_model.wordpiece import WordPieceTokenizer

__all__ = [
    "CHECKSUMS",
    "CONFIG",
    "VOCABULARY",
    "WEIGHTS",
    "ModelFolder",
    "build_model",
    "build_on_meta",
    "check_state",
    "check_tags_fit",
    "fill_model",
    "from_official",
    "load_folder",
    "load_official",
    "read_official",
    "save_folder",
    "write_checksums",
    "write_folder",
]

CONFIG, WEIGHTS, VOCABULARY = "config.json", "model.safetensors", "vocabulary.parquet"
CHECKSUMS = "checksums.json"


class ModelFolder(NamedTuple):
    """What a model folder holds, read and checked."""

    model: Ram
    config: RamConfig
    vocabulary: Vocabulary
    weights_sha256: str
    tokenizer: WordPieceTokenizer | None = None
    """Of captions; None where they were not asked for."""
    captions_sha256: str | None = None
    """Of the caption side's files."""


def save_folder(
    model: Ram,
    config: RamConfig,
    vocabulary: Vocabulary,
    folder: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    word_pieces: str | Path | None = None,
) -> Path:
    """Write a model folder and return its path; existing files of those names are replaced.

    Args:
        dtype: of the weights on disk; float16 halves them, and `load_folder` widens them again.
        word_pieces: the vocab.txt of a model with a caption side, which needs one.

    Raises:
        CheckpointError: model, configuration and vocabulary do not agree.
        CaptionError: a model with a caption side, but no word pieces that fit it.
    """
    if model.config != config:
        raise CheckpointError("The configuration is not the model's own.")
    state = model.state_dict()
    return write_folder(state, config, vocabulary, folder, dtype=dtype, word_pieces=word_pieces)


def write_folder(
    state: Mapping[str, Tensor],
    config: RamConfig,
    vocabulary: Vocabulary,
    folder: str | Path,
    *,
    dtype: torch.dtype = torch.float32,
    word_pieces: str | Path | None = None,
    parts: Iterable[str] = (),
) -> Path:
    """Write a model folder of weights under our names, as `save_folder`.

    Tensors that are memory-mapped and have the wanted type are never copied into memory.

    Args:
        parts: names of further files, in the folder already, that its checksums shall cover.

    Raises:
        CheckpointError: vocabulary and configuration do not agree.
        CaptionError: a model with a caption side, but no word pieces that fit it.
        OSError: the folder cannot be written.
    """
    check_tags_fit(config, vocabulary)
    if config.captions is not None and word_pieces is None:
        raise CaptionError("This model writes captions: name its list of word_pieces.")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CHECKSUMS).unlink(missing_ok=True)  # written last: without it there is no model
    (folder / CONFIG).write_text(config.to_json(), encoding="utf-8")
    captions = {}
    if word_pieces is not None:
        captions = {name: t for name, t in state.items() if name.startswith(CAPTION_PREFIX)}
    tagging = {name: tensor for name, tensor in state.items() if name not in captions}
    write_weights(tagging, folder / WEIGHTS, dtype=dtype)
    vocabulary.to_parquet(folder / VOCABULARY)
    names = [CONFIG, WEIGHTS, VOCABULARY, *parts]
    if word_pieces is not None:
        names += write_caption_files(folder, captions, word_pieces, dtype=dtype)
    write_checksums(folder, names)
    return folder


def write_checksums(folder: Path, names: Iterable[str]) -> None:
    """Record the sha256 of these files of a model folder, beside those recorded before."""
    path = folder / CHECKSUMS
    sums = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {}
    sums |= {name: file_sha256(folder / name) for name in names}
    part = path.with_suffix(".part")
    part.write_text(json.dumps(sums, indent=2) + "\n", encoding="utf-8")
    part.replace(path)


def load_folder(folder: str | Path, *, captions: bool = False) -> ModelFolder:
    """Return the model (evaluation mode, float32), configuration and vocabulary of a folder.

    Args:
        captions: with the caption side; False leaves its files unread.

    Raises:
        CheckpointError: a file is missing or not what checksums.json says, or they do not agree.
        CaptionError: captions of a model that has no caption side.
    """
    folder = Path(folder)
    sums = _verify_checksums(folder)
    try:
        config = RamConfig.from_json((folder / CONFIG).read_text(encoding="utf-8"))
    except ValueError as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from error
    try:
        state = load_file(folder / WEIGHTS)
    except SafetensorError as error:
        raise CheckpointError(f"{folder / WEIGHTS} is not a safetensors file: {error}.") from error
    vocabulary = Vocabulary.from_parquet(folder / VOCABULARY)
    check_tags_fit(config, vocabulary)
    side = read_caption_files(folder, config, sums) if captions else None
    if side is None:
        config = replace(config, captions=None)
        return ModelFolder(fill_model(config, state), config, vocabulary, sums[WEIGHTS])
    model = fill_model(config, state | side.state)
    return ModelFolder(model, config, vocabulary, sums[WEIGHTS], side.tokenizer, side.sha256)


def check_tags_fit(config: RamConfig, vocabulary: Vocabulary) -> None:
    """Check that a vocabulary has as many tags as a model.

    Raises:
        CheckpointError: it has more or fewer.
    """
    if len(vocabulary) != config.num_tags:
        raise CheckpointError(
            f"The vocabulary holds {len(vocabulary)} tags, the model {config.num_tags}."
        )


def _verify_checksums(folder: Path) -> dict[str, str]:
    for name in (CONFIG, WEIGHTS, VOCABULARY, CHECKSUMS):
        if not (folder / name).is_file():
            raise CheckpointError(f"{folder} is not a model folder: {name} is missing.")
    try:
        sums = dict(json.loads((folder / CHECKSUMS).read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise CheckpointError(f"{folder / CHECKSUMS} is damaged: {error}.") from error
    for name in (CONFIG, WEIGHTS, VOCABULARY):
        if sums.get(name) != file_sha256(folder / name):
            raise CheckpointError(f"{folder / name} is not the file that {CHECKSUMS} describes.")
    return sums

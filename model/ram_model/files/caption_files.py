"""The caption side of a model folder: two files that tagging never opens.

captions.safetensors holds the weights (257 M of RAM's 469 M parameters), word_pieces.txt the
vocab.txt of bert-base-uncased, which `ram-ray model fetch tag2text` brings along, or a list of
the model's own.
"""

import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file
from torch import Tensor

from ram_model.config import RamConfig
from ram_model.errors import CaptionError, CheckpointError
from ram_model.weight_files import write_weights
from ram_model.wordpiece import WordPieceTokenizer

CAPTION_WEIGHTS, WORD_PIECES = "captions.safetensors", "word_pieces.txt"
CAPTION_PREFIX = "caption_head."
"""Of the names of the caption side's weights."""


class CaptionSide(NamedTuple):
    """What a folder's two files hold."""

    state: dict[str, Tensor]
    tokenizer: WordPieceTokenizer
    sha256: str
    """Of both files."""


def write_caption_files(
    folder: Path, state: Mapping[str, Tensor], word_pieces: str | Path, *, dtype: torch.dtype
) -> list[str]:
    """Write weights and word pieces of a caption side; return the files' names.

    Args:
        state: its weights, under the names they have in the whole model.

    Raises:
        CaptionError: no such list of word pieces, or one of another model.
        OSError: the folder cannot be written.
    """
    known = len(state[f"{CAPTION_PREFIX}text_decoder.bias"])
    check_word_pieces(word_pieces, known)
    write_weights(state, folder / CAPTION_WEIGHTS, dtype=dtype)
    if not (folder / WORD_PIECES).exists() or not (folder / WORD_PIECES).samefile(word_pieces):
        shutil.copyfile(word_pieces, folder / WORD_PIECES)
    return [CAPTION_WEIGHTS, WORD_PIECES]


def check_word_pieces(word_pieces: str | Path, vocab_size: int) -> None:
    """Check that a list of word pieces is that of a model.

    Args:
        vocab_size: as in `CaptionConfig`: the pieces of the list and two more.

    Raises:
        CaptionError: no such list, or one of another model.
    """
    tokenizer = WordPieceTokenizer.from_file(word_pieces)
    if tokenizer.vocab_size != vocab_size:
        raise CaptionError(
            f"{word_pieces} holds {tokenizer.vocab_size - 2} word pieces, but the model was "
            f"trained with {vocab_size - 2}."
        )


def read_caption_files(folder: Path, config: RamConfig, sums: Mapping[str, str]) -> CaptionSide:
    """Return the caption side of a model folder, checked against its checksums.

    Raises:
        CaptionError: the folder has none.
        CheckpointError: a file is not what the checksums say.
    """
    if config.captions is None:
        raise no_captions(folder)
    for name in (CAPTION_WEIGHTS, WORD_PIECES):
        if not (folder / name).is_file():
            raise CaptionError(
                f"The caption decoder of the model {folder} is incomplete: no {name}."
            )
        with (folder / name).open("rb") as file:
            if sums.get(name) != hashlib.file_digest(file, "sha256").hexdigest():
                raise CheckpointError(f"{folder / name} is not the file that its checksum is of.")
    both = json.dumps([sums[CAPTION_WEIGHTS], sums[WORD_PIECES]])
    return CaptionSide(
        load_file(folder / CAPTION_WEIGHTS),
        WordPieceTokenizer.from_file(folder / WORD_PIECES),
        hashlib.sha256(both.encode("ascii")).hexdigest(),
    )


def no_captions(model: str | Path) -> CaptionError:
    """Return the error of captions asked of a model that only tags."""
    return CaptionError(
        f"The model {model} has no caption decoder, it only tags: tag2text has one "
        f"(`ram-ray model fetch tag2text`)."
    )

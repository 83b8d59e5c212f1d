"""A model that was opened: what tagging, captions and new words work on."""

from dataclasses import dataclass
from pathlib import Path

from ram_model.config import RamConfig
from ram_model.networks.ram import Ram
from ram_model.vocabulary import Vocabulary
from ram_model.wordpiece import WordPieceTokenizer

PACKAGED = Path(__file__).parent / "weights"
"""Where the models that ship with the package lie; nothing writes there."""


@dataclass(frozen=True, kw_only=True, slots=True)
class OpenedModel:
    """A model ready to tag, and where it came from."""

    model: Ram
    config: RamConfig
    vocabulary: Vocabulary
    model_id: str
    """Its name, or the path of its folder as given."""
    weights_sha256: str
    folder: Path | None = None
    """Its model folder; None for a model that is not from one."""
    tokenizer: WordPieceTokenizer | None = None
    """Word pieces of its captions; None for a model opened without a caption side."""
    captions_sha256: str | None = None
    """Of the caption side's files."""
    is_random: bool = False
    """The weights are untrained: its tags mean nothing, and callers should say so."""

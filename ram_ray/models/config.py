"""Settings of `ram-ray model fetch` and `ram-ray model convert`."""

from dataclasses import dataclass
from pathlib import Path
from typing import get_args

from ram_model.config import Dtype
from ram_ray.config import option, require
from ram_ray.models.published import MODELS

DTYPES = get_args(Dtype)


@dataclass(frozen=True, kw_only=True, slots=True)
class FetchConfig:
    """`ram-ray model fetch`: which model, into which folder, from where."""

    name: str
    """One of `published_models.MODELS`."""
    folder: Path
    """Becomes the model folder."""
    mirror: str | None = option(None, metavar="URL|FOLDER")
    """Take the published files from here, by their names; None: where they are published."""
    sha256: str | None = None
    """What the checkpoint must have, hexadecimal; None: what the server publishes, if it does."""
    text_encoder: bool = True
    """Also what reads new words (600 MB to download)."""
    dtype: Dtype = "float32"
    """Number format of the weights on disk."""
    tensors_only: bool = False
    """Skip, unrun, what a checkpoint holds besides tensors."""
    keep_download: bool = False
    """Leave the downloaded files in the folder."""

    def __post_init__(self) -> None:
        require(self.name in MODELS, "name", self.name, f"one of {', '.join(MODELS)}")
        require(self.dtype in DTYPES, "dtype", self.dtype, f"one of {', '.join(DTYPES)}")
        ok = self.sha256 is None or _is_sha256(self.sha256)
        require(ok, "sha256", self.sha256, "64 hexadecimal digits")


def _is_sha256(text: str) -> bool:
    return len(text) == 64 and all(digit in "0123456789abcdef" for digit in text.lower())


@dataclass(frozen=True, kw_only=True, slots=True)
class ConvertConfig:
    """`ram-ray model convert`: which checkpoint, into which folder, with which parts."""

    checkpoint: Path
    """RAM, RAM++ or Tag2Text in the official layout: a `.pth` file, or safetensors."""
    folder: Path
    """Becomes the model folder."""
    vocabulary: Path | None = option(None, metavar="FILE")
    """Parquet file with the tags; None: the published tags."""
    mirror: str | None = option(None, metavar="URL|FOLDER")
    """Take the published files from here, by their names; None: where they are published."""
    templates: Path | None = option(None, metavar="FILE")
    """Prompt templates for new words, one a line; None: open_clip's."""
    descriptions: Path | None = option(None, metavar="FILE")
    """Sentences about new words, for RAM++, as published."""
    text_encoder: Path | None = option(None, metavar="FILE")
    """CLIP weights that read new words."""
    captions: bool | None = None
    """Keep the caption side; None: Tag2Text's, not RAM's."""
    weights: str | None = option(None, metavar="KEY")
    """Which weights of a training checkpoint that holds several, such as model_ema; None: the
    trained ones, not their average."""
    word_pieces: Path | None = option(None, metavar="FILE")
    """BERT's vocab.txt, for captions; None: the published one."""
    license: Path | None = option(None, metavar="FILE")
    """Licence text of the weights."""
    dtype: Dtype = "float32"
    """Number format of the weights on disk."""
    tensors_only: bool = False
    """Skip, unrun, what a checkpoint holds besides tensors."""

    def __post_init__(self) -> None:
        require(self.dtype in DTYPES, "dtype", self.dtype, f"one of {', '.join(DTYPES)}")
        for name in ("checkpoint", "vocabulary", "templates", "descriptions", "word_pieces",
                     "license"):  # fmt: skip
            path = getattr(self, name)
            require(path is None or path.is_file(), name, str(path), "a file that exists")

"""CLIP's text tower: sentences to vectors in the space of RAM's label embeddings.

The layers are open_clip's; this file reads weights for them, from a model folder
(`text_encoder/config.json`, `model.safetensors`) or from what open_clip publishes. Shape legend:
N sentences, E text space (512 in CLIP ViT-B/16).
"""

import json
import pickle
import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import functional as F

from ram_model.errors import LabelError
from ram_model.weight_files import write_weights

CONFIG, WEIGHTS = "config.json", "model.safetensors"

# What open_clip's hub pages call the two files, best first.
_PUBLISHED_CONFIG = "open_clip_config.json"
_PUBLISHED_WEIGHTS = ("open_clip_model.safetensors", "open_clip_pytorch_model.bin")
# The text tower's own names in a whole CLIP, with or without the prefix "text.".
_TOWER = (
    "token_embedding.",
    "positional_embedding",
    "transformer.",
    "ln_final.",
    "text_projection",
)
_HEAD_DIM = 64  # of every CLIP text tower; the number of heads leaves no trace in the shapes
_BATCH = 128  # sentences per call: about 40 MB of activations in ViT-B/16


@dataclass(frozen=True, kw_only=True, slots=True)
class TextEncoderConfig:
    """Sizes of a CLIP text tower."""

    embed_dim: int
    context_length: int
    vocab_size: int
    width: int
    heads: int
    layers: int
    quick_gelu: bool = True
    """x * sigmoid(1.702 x) instead of GELU; true for OpenAI's weights, which RAM learnt from."""


class TextEncoder:
    """Sentences to unit vectors, on one device, in float32."""

    def __init__(self, config: TextEncoderConfig, state: Mapping[str, Tensor]) -> None:
        """Build the tower with exactly these weights.

        Raises:
            LabelError: naming what is missing, unexpected, or of another shape.
        """
        from open_clip import SimpleTokenizer
        from open_clip.transformer import QuickGELU, TextTransformer

        self.config = config
        self._tokenizer = SimpleTokenizer(context_length=config.context_length)
        if self._tokenizer.vocab_size != config.vocab_size:
            raise LabelError(
                f"The text encoder has {config.vocab_size} word pieces, but CLIP's tokenizer makes "
                f"{self._tokenizer.vocab_size}."
            )
        self._tower = TextTransformer(
            context_length=config.context_length,
            vocab_size=config.vocab_size,
            width=config.width,
            heads=config.heads,
            layers=config.layers,
            output_dim=config.embed_dim,
            act_layer=QuickGELU if config.quick_gelu else torch.nn.GELU,
        )
        try:
            self._tower.load_state_dict({k: v.float() for k, v in state.items()})
        except RuntimeError as error:
            problems = "; ".join(line.strip() for line in str(error).splitlines()[1:])
            raise LabelError(f"The weights do not fit a CLIP text tower: {problems}") from error
        self._tower.eval()
        self._mask = self._tower.get_buffer("attn_mask")

    @torch.inference_mode()
    def encode(self, sentences: Sequence[str], device: str | torch.device = "cpu") -> Tensor:
        """Return float32 [N, E] on the CPU, unit rows; sentences end at 77 word pieces."""
        self._tower.to(device)
        rows = []
        for start in range(0, len(sentences), _BATCH):
            pieces = self._tokenizer(list(sentences[start : start + _BATCH]))
            # A sentence is read up to its end mark, and no piece sees a later one: the padding
            # behind the longest sentence can be cut away.
            length = int(pieces.argmax(dim=-1).max()) + 1
            mask = self._mask[:length, :length].to(device)
            self._tower.register_buffer("attn_mask", mask, persistent=False)
            rows.append(F.normalize(self._tower(pieces[:, :length].to(device)), dim=-1).cpu())
        return torch.cat(rows)

    def fits(self, sentence: str) -> bool:
        """Tell whether the whole sentence is read: 75 word pieces, two more are marks."""
        return len(self._tokenizer.encode(sentence)) <= self.config.context_length - 2

    def save(self, folder: str | Path, *, dtype: torch.dtype | None = None) -> list[Path]:
        """Write config.json and model.safetensors, in `dtype` or float32; return their paths."""
        folder = Path(folder)
        folder.mkdir(parents=True, exist_ok=True)
        text = json.dumps(asdict(self.config), indent=2) + "\n"
        (folder / CONFIG).write_text(text, encoding="utf-8")
        write_weights(self._tower.state_dict(), folder / WEIGHTS, dtype=dtype)
        return [folder / CONFIG, folder / WEIGHTS]


def load_text_encoder(source: str | Path) -> TextEncoder:
    """Return the text encoder in a folder or weight file.

    Args:
        source: a folder that `TextEncoder.save` wrote; a folder with open_clip's published files;
            or one `.safetensors`, `.bin` or `.pt` file with the weights of a CLIP that open_clip
            reads, whose image tower is skipped. A lone file is taken for OpenAI's (QuickGELU).

    Raises:
        LabelError: no such place, or not such weights.
    """
    source = Path(source)
    if source.is_file():
        return _from_published(source, None)
    if (source / CONFIG).is_file() and (source / WEIGHTS).is_file():
        return _from_ours(source)
    for name in _PUBLISHED_WEIGHTS:
        if (source / name).is_file():
            return _from_published(source / name, source / _PUBLISHED_CONFIG)
    raise LabelError(
        f"There is no text encoder at {source}: give a folder with {CONFIG} and {WEIGHTS}, or a "
        f"file like {_PUBLISHED_WEIGHTS[0]}."
    )


def _from_ours(folder: Path) -> TextEncoder:
    try:
        config = TextEncoderConfig(**json.loads((folder / CONFIG).read_text(encoding="utf-8")))
    except (TypeError, ValueError) as error:
        raise LabelError(f"{folder / CONFIG} is not a text encoder's: {error}.") from error
    return TextEncoder(config, _read_weights(folder / WEIGHTS))


def _from_published(weights: Path, config_file: Path | None) -> TextEncoder:
    state = {}
    for name, tensor in _read_weights(weights).items():
        name = name.removeprefix("text.")
        if name.startswith(_TOWER):
            state[name] = tensor
    if "token_embedding.weight" not in state or "text_projection" not in state:
        raise LabelError(f"{weights} holds no CLIP text tower.")
    vocab_size, width = state["token_embedding.weight"].shape
    block = re.compile(r"transformer\.resblocks\.(\d+)\.")
    blocks = {found.group(1) for name in state if (found := block.match(name))}
    config = TextEncoderConfig(
        embed_dim=state["text_projection"].shape[1],
        context_length=state["positional_embedding"].shape[0],
        vocab_size=vocab_size,
        width=width,
        heads=max(1, width // _HEAD_DIM),
        layers=len(blocks),
        quick_gelu=_published_quick_gelu(config_file),
    )
    return TextEncoder(config, state)


def _published_quick_gelu(config_file: Path | None) -> bool:
    if config_file is None or not config_file.is_file():
        return True
    try:
        published: dict[str, Any] = json.loads(config_file.read_text(encoding="utf-8"))
        return bool(published.get("model_cfg", published).get("quick_gelu", False))
    except (AttributeError, ValueError) as error:
        raise LabelError(f"{config_file} is not a configuration of open_clip: {error}.") from error


def _read_weights(path: Path) -> dict[str, Tensor]:
    try:
        if path.suffix == ".safetensors":
            return load_file(path)
        with warnings.catch_warnings(action="ignore"):  # torch warns of a program, then refuses it
            content = torch.load(path, map_location="cpu", mmap=True, weights_only=True)
    except (SafetensorError, OSError, RuntimeError, EOFError, pickle.UnpicklingError) as error:
        raise LabelError(
            f"{path} cannot be read as weights alone (OpenAI's own ViT-B-16.pt is a program: take "
            f"open_clip's {_PUBLISHED_WEIGHTS[0]} instead): {error}"
        ) from error
    state = content.get("state_dict", content) if isinstance(content, dict) else None
    if not isinstance(state, dict):
        raise LabelError(f"{path} is not a state dict, nor a dict with one under 'state_dict'.")
    return {k.removeprefix("module."): v for k, v in state.items() if isinstance(v, Tensor)}

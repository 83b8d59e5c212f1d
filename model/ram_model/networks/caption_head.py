"""The caption side of RAM and Tag2Text: tags and image tokens to a memory, memory to text.

Tag2Text (arXiv 2303.05657): the tags are written as text, an encoder lets them read
the image, and a decoder writes the caption from what they have become. Shape legend: B images,
N = B * beams texts, L word pieces, R pieces of the tag text, T image tokens, E token width,
D width, W word pieces known.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ram_model.config import CaptionConfig, RamConfig, TagDecoderConfig
from ram_model.networks.bert import MASKED, KeyValues, TextEmbeddings, TextLayer, init_bert_weights
from ram_model.networks.tag_decoder import NORM_EPS, TagDecoderLayer


class CaptionHead(nn.Module):
    """Tag encoder and text decoder; what the tag decoder already holds is not held twice."""

    def __init__(self, config: CaptionConfig, model: RamConfig) -> None:
        super().__init__()
        self.config = config
        self.tag_encoder = TagEncoder(config, model)
        self.text_decoder = TextDecoder(config, model)
        self.apply(init_bert_weights)


class TagEncoder(nn.Module):
    """The image-tag interaction encoder: the tag text, read in both directions, reads the image.

    Its first layers read with the weights of the tag decoder's layers, under another number of
    heads (12 against 4 in the official models); those are lent at each call.
    """

    def __init__(self, config: CaptionConfig, model: RamConfig) -> None:
        super().__init__()
        width = model.tag_decoder.hidden_dim
        self.embeddings = TextEmbeddings(config, width=width)
        own = _reading_config(config, width)
        self.layers = nn.ModuleList(
            TextLayer(
                config,
                width=width,
                reading=None
                if number < model.tag_decoder.num_layers
                else TagDecoderLayer(own, token_dim=model.token_dim),
            )
            for number in range(config.num_layers)
        )

    def forward(
        self, piece_ids_BR: Tensor, mask_BR: Tensor, tokens_BTE: Tensor, lent: nn.ModuleList
    ) -> Tensor:
        """Return the memory that the text decoder reads, [B, R, D].

        Args:
            piece_ids_BR: int64, the tag text, [ENC] first.
            mask_BR: 1 or True at pieces, 0 or False at padding, which no piece attends to.
            tokens_BTE: image tokens, the result of `Ram.encode_images`.
            lent: the layers of the tag decoder.
        """
        states = self.embeddings(piece_ids_BR)
        bias = _bias(mask_BR.bool()[:, None, None, :], states.dtype)
        for number, layer in enumerate(_layers(self.layers)):
            states, _ = layer.attention(states, bias)
            reading = cast(TagDecoderLayer, lent[number]) if number < len(lent) else None
            states = layer.read(states, layer.project_memory(tokens_BTE, reading), reading)
        return states


@dataclass(frozen=True, slots=True)
class DecoderState:
    """What the text decoder need not compute again for the next piece."""

    memory: tuple[KeyValues, ...]
    """Per layer, of B images."""
    past: tuple[KeyValues, ...] = ()
    """Per layer, of N texts; () before the first piece."""

    @property
    def length(self) -> int:
        """Pieces read so far."""
        return self.past[0].keys.shape[2] if self.past else 0

    def take(self, rows_N: Tensor) -> "DecoderState":
        """Return the state of these texts; those of one image stay beside each other."""
        past = tuple(KeyValues(p.keys[rows_N], p.values[rows_N]) for p in self.past)
        return DecoderState(self.memory, past)


class TextDecoder(nn.Module):
    """Text to the logits of its next word piece, reading the tag encoder's memory."""

    def __init__(self, config: CaptionConfig, model: RamConfig) -> None:
        super().__init__()
        width = model.tag_decoder.hidden_dim
        self.embeddings = TextEmbeddings(config, width=width)
        own = _reading_config(config, width)
        self.layers = nn.ModuleList(
            TextLayer(config, width=width, reading=TagDecoderLayer(own, token_dim=width))
            for _ in range(config.num_layers)
        )
        self.transform = nn.Linear(width, width)
        self.transform_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.bias = nn.Parameter(torch.zeros(config.vocab_size))

    def forward(self, piece_ids_BL: Tensor, mask_BL: Tensor, memory_BRD: Tensor) -> Tensor:
        """Return logits [B, L, W]; those at piece i are about piece i + 1.

        Args:
            piece_ids_BL: int64, the captions, [DEC] first, padding at the end.
            mask_BL: 1 or True at pieces, 0 or False at padding.
            memory_BRD: from the tag encoder; its padding is read as well, as in the reference.
        """
        length = piece_ids_BL.shape[1]
        seen = torch.ones(length, length, dtype=torch.bool, device=piece_ids_BL.device).tril()
        seen = seen & mask_BL.bool()[:, None, None, :]
        states, _ = self._run(piece_ids_BL, seen, self.start(memory_BRD))
        return self._logits(states)

    def start(self, memory_BRD: Tensor) -> DecoderState:
        """Return the state before the first piece."""
        layers = _layers(self.layers)
        return DecoderState(tuple(layer.project_memory(memory_BRD) for layer in layers))

    def extend(self, piece_ids_NL: Tensor, state: DecoderState) -> tuple[Tensor, DecoderState]:
        """Return logits [N, W] of what comes after these pieces, and the state with them read.

        Args:
            piece_ids_NL: int64, the next pieces of N texts, without padding; N is a multiple of
                the images in `state`, whose texts stand beside each other.
        """
        seen = None
        if (length := piece_ids_NL.shape[1]) > 1:
            shape = (length, state.length + length)
            seen = torch.ones(shape, dtype=torch.bool, device=piece_ids_NL.device)
            seen = seen.tril(state.length)
        states, past = self._run(piece_ids_NL, seen, state)
        return self._logits(states[:, -1]), DecoderState(state.memory, past)

    def _run(
        self, piece_ids_NL: Tensor, seen: Tensor | None, state: DecoderState
    ) -> tuple[Tensor, tuple[KeyValues, ...]]:
        states = self.embeddings(piece_ids_NL, first_position=state.length)
        bias = None if seen is None else _bias(seen, states.dtype)
        past = []
        for number, layer in enumerate(_layers(self.layers)):
            before = state.past[number] if state.past else None
            states, keys_values = layer.attention(states, bias, before)
            past.append(keys_values)
            states = layer.read(states, state.memory[number])
        return states, tuple(past)

    def _logits(self, states: Tensor) -> Tensor:
        hidden = self.transform_norm(F.gelu(self.transform(states)))
        # the output matrix is the piece embeddings: row 0 learns here, though not by look-up
        return F.linear(hidden, self.embeddings.pieces.weight, self.bias)


def _reading_config(config: CaptionConfig, width: int) -> TagDecoderConfig:
    return TagDecoderConfig(
        hidden_dim=width,
        num_heads=config.num_heads,
        num_layers=1,
        intermediate_dim=config.intermediate_dim,
        dropout=config.dropout,
    )


def _layers(layers: nn.ModuleList) -> Sequence[TextLayer]:
    return cast(Sequence[TextLayer], layers)


def _bias(seen: Tensor, dtype: torch.dtype) -> Tensor:
    return (~seen).to(dtype) * MASKED

"""The parts of BERT that captions need: embeddings, self-attention, and reading from a memory.

Own layers rather than those of transformers, for three reasons. The reference's layers are no
configuration of transformers' BERT: there is no token-type embedding, the memory has another
width than the text (512 or 1024 against 768), and the first layers read with the tag decoder's
weights under another number of heads. Breakage by new versions of transformers is the most
frequent complaint about the reference. And nothing else in this package would use it.

Shape legend: N texts, L word pieces, P pieces read before, S = P + L, D width, H heads, R entries
of a memory, G groups of texts that share a memory.
"""

from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ram_model.config import CaptionConfig
from ram_model.networks.tag_decoder import NORM_EPS, TagDecoderLayer

PAD_ID = 0  # of the word-piece list, as in every BERT
MASKED = -10000.0  # added to a score that must not count: the reference's number, not -inf


class KeyValues(NamedTuple):
    """Projected keys and values of an attention, [N, H, S, D / H] each."""

    keys: Tensor
    values: Tensor


class TextEmbeddings(nn.Module):
    """Word pieces to states: piece plus position, normalised."""

    def __init__(self, config: CaptionConfig, *, width: int) -> None:
        super().__init__()
        # padding_idx: looking up [PAD] gives its row no gradient, though it is attended to
        self.pieces = nn.Embedding(config.vocab_size, width, padding_idx=PAD_ID)
        self.positions = nn.Embedding(config.num_positions, width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, piece_ids_NL: Tensor, *, first_position: int = 0) -> Tensor:
        """Return states [N, L, D] of int64 piece ids that begin at `first_position`."""
        last = first_position + piece_ids_NL.shape[1]
        states_NLD = self.pieces(piece_ids_NL) + self.positions.weight[first_position:last]
        return self.dropout(self.norm(states_NLD))


class SelfAttention(nn.Module):
    """Text attends to itself, with a residual and a LayerNorm after it."""

    def __init__(self, config: CaptionConfig, *, width: int) -> None:
        super().__init__()
        self.num_heads = config.num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(width, width)
        self.value = nn.Linear(width, width)
        self.output = nn.Linear(width, width)
        self.norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, states_NLD: Tensor, bias: Tensor | None = None, past: KeyValues | None = None
    ) -> tuple[Tensor, KeyValues]:
        """Return the next states, and keys and values of all pieces so far.

        Args:
            bias: added to the scores, broadcast to [N, H, L, S]; None: everything is seen.
            past: keys and values of the pieces before these.
        """
        keys = split_heads(self.key(states_NLD), self.num_heads)
        values = split_heads(self.value(states_NLD), self.num_heads)
        if past is not None:
            keys = torch.cat([past.keys, keys], dim=2)
            values = torch.cat([past.values, values], dim=2)
        attended = F.scaled_dot_product_attention(
            split_heads(self.query(states_NLD), self.num_heads),
            keys,
            values,
            attn_mask=bias,
            dropout_p=self.dropout.p if self.training else 0.0,
        )
        update_NLD = self.dropout(self.output(attended.transpose(1, 2).flatten(2)))
        return self.norm(update_NLD + states_NLD), KeyValues(keys, values)


class TextLayer(nn.Module):
    """Self-attention, then what a layer of the tag decoder does: cross-attention, feed-forward."""

    def __init__(
        self, config: CaptionConfig, *, width: int, reading: TagDecoderLayer | None
    ) -> None:
        """Build the self-attention; `reading` None: the caller lends a layer at each call."""
        super().__init__()
        self.num_heads = config.num_heads
        self.attention = SelfAttention(config, width=width)
        self.reading = reading

    def project_memory(self, memory_GRE: Tensor, lent: TagDecoderLayer | None = None) -> KeyValues:
        """Return the memory as keys and values of this layer, to be read any number of times."""
        reading = self._reading(lent)
        return KeyValues(
            split_heads(reading.key(memory_GRE), self.num_heads),
            split_heads(reading.value(memory_GRE), self.num_heads),
        )

    def read(
        self, states_NLD: Tensor, memory: KeyValues, lent: TagDecoderLayer | None = None
    ) -> Tensor:
        """Return the states after cross-attention and feed-forward.

        All of the memory is seen, padding included, as in the reference. Texts of one group stand
        beside each other; their pieces are so many queries of one memory, which is never copied.
        """
        reading = self._reading(lent)
        num_groups = memory.keys.shape[0]
        states = states_NLD.unflatten(0, (num_groups, -1)).flatten(1, 2)
        attended = F.scaled_dot_product_attention(
            split_heads(reading.query(states), self.num_heads),
            memory.keys,
            memory.values,
            dropout_p=reading.dropout.p if self.training else 0.0,
        )
        update = reading.attention_output(attended.transpose(1, 2).flatten(2))
        hidden = reading.attention_norm(reading.dropout(update) + states)
        update = reading.contract(F.gelu(reading.expand(hidden)))
        states = reading.output_norm(reading.dropout(update) + hidden)
        return states.reshape(states_NLD.shape)

    def _reading(self, lent: TagDecoderLayer | None) -> TagDecoderLayer:
        reading = self.reading if lent is None else lent
        assert reading is not None, "a layer without its own reading part is lent one"
        return reading


def split_heads(states_NLD: Tensor, num_heads: int) -> Tensor:
    """Return the states by head, [N, H, L, D / H]."""
    return states_NLD.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def init_bert_weights(module: nn.Module) -> None:
    """Initialise a linear layer or an embedding as BERT does (initializer_range .02)."""
    if isinstance(module, nn.Linear | nn.Embedding):
        nn.init.normal_(module.weight, std=0.02)
    if isinstance(module, nn.Linear):
        nn.init.zeros_(module.bias)

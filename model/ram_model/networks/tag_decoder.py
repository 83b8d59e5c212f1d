"""Tag decoder: label queries read the image tokens; labels never see each other.

Shape legend: B images, Q 1 or B, C tags, D hidden width, T image tokens, E token width,
H heads, P width of a head.
"""

from typing import cast

from torch import Tensor, nn
from torch.nn import functional as F

from ram_model.config import TagDecoderConfig

NORM_EPS = 1e-12  # of the BERT blocks the reference builds on; Swin's is 1e-5


class TagDecoder(nn.Module):
    """A stack of post-norm layers of cross-attention and feed-forward (RAM, arXiv 2306.03514).

    Without layers the states are the label queries, the same for all images.
    """

    def __init__(self, config: TagDecoderConfig, *, token_dim: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            TagDecoderLayer(config, token_dim=token_dim) for _ in range(config.num_layers)
        )
        self.apply(_init_weights)

    def forward(
        self, queries_QCD: Tensor, tokens_BTE: Tensor, projected_QHCP: Tensor | None = None
    ) -> Tensor:
        """Return one state per image and tag, [B, C, D]; the queries where there are no layers.

        Args:
            queries_QCD: label queries [B, C, D], or [1, C, D] when all images share them.
            tokens_BTE: projected image tokens, the mean token first.
            projected_QHCP: the result of `project_queries`, to save computing it; None computes it.
        """
        states = queries_QCD
        for layer in self.layers:
            states = layer(states, tokens_BTE, projected_QHCP)
            projected_QHCP = None  # of the first layer only: the others' queries see the image
        return states

    def project_queries(self, queries_QCD: Tensor) -> Tensor | None:
        """Return what the first layer asks the image with, [Q, H, C, P]; None without layers."""
        if not self.layers:
            return None
        return cast(TagDecoderLayer, self.layers[0]).project_queries(queries_QCD)


class TagDecoderLayer(nn.Module):
    """Cross-attention, then feed-forward, each with a residual and a LayerNorm after it."""

    def __init__(self, config: TagDecoderConfig, *, token_dim: int) -> None:
        super().__init__()
        width = config.hidden_dim
        self.num_heads = config.num_heads
        self.query = nn.Linear(width, width)
        self.key = nn.Linear(token_dim, width)
        self.value = nn.Linear(token_dim, width)
        self.attention_output = nn.Linear(width, width)
        self.attention_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.expand = nn.Linear(width, config.intermediate_dim)
        self.contract = nn.Linear(config.intermediate_dim, width)
        self.output_norm = nn.LayerNorm(width, eps=NORM_EPS)
        self.dropout = nn.Dropout(config.dropout)

    def forward(
        self, queries_QCD: Tensor, tokens_BTE: Tensor, projected_QHCP: Tensor | None = None
    ) -> Tensor:
        """Return the next states, [B, C, D]; arguments as in `TagDecoder.forward`."""
        if projected_QHCP is None:
            projected_QHCP = self.project_queries(queries_QCD)
        attended_BCD = self.attention_output(self._attend(projected_QHCP, tokens_BTE))
        hidden_BCD = self.attention_norm(self.dropout(attended_BCD) + queries_QCD)
        update_BCD = self.contract(F.gelu(self.expand(hidden_BCD)))
        return self.output_norm(self.dropout(update_BCD) + hidden_BCD)

    def project_queries(self, queries_QCD: Tensor) -> Tensor:
        """Return the queries of the attention, by head: [Q, H, C, P]."""
        return self._split_heads(self.query(queries_QCD))

    def _attend(self, projected_QHCP: Tensor, tokens_BTE: Tensor) -> Tensor:
        """Return softmax(q k^T / sqrt(P)) v, heads joined: [B, C, D]."""
        keys = self._split_heads(self.key(tokens_BTE))
        values = self._split_heads(self.value(tokens_BTE))
        # shared queries are projected once and only then repeated, as a view
        queries = projected_QHCP.expand(tokens_BTE.shape[0], -1, -1, -1)
        dropout = self.dropout.p if self.training else 0.0
        attended = F.scaled_dot_product_attention(queries, keys, values, dropout_p=dropout)
        return attended.transpose(1, 2).flatten(2)

    def _split_heads(self, states_BLD: Tensor) -> Tensor:
        return states_BLD.unflatten(-1, (self.num_heads, -1)).transpose(1, 2)


def _init_weights(module: nn.Module) -> None:
    # BERT's initialisation (initializer_range .02), which the reference trains from
    if isinstance(module, nn.Linear):
        nn.init.normal_(module.weight, std=0.02)
        nn.init.zeros_(module.bias)

import math

import torch
from torch import Tensor
from torch.nn import functional as F

from ram_model.config import TagDecoderConfig
from ram_model.networks.tag_decoder import TagDecoder, TagDecoderLayer

CONFIG = TagDecoderConfig(hidden_dim=24, num_heads=3, num_layers=2, intermediate_dim=40)


def _layer_by_hand(layer: TagDecoderLayer, queries: Tensor, tokens: Tensor) -> Tensor:
    """One image, one head after the other, straight from the definition."""
    q, k, v = layer.query(queries), layer.key(tokens), layer.value(tokens)
    heads = []
    for part in range(3):
        span = slice(part * 8, part * 8 + 8)
        scores = q[:, span] @ k[:, span].T / math.sqrt(8)
        heads.append(scores.softmax(-1) @ v[:, span])
    attended = layer.attention_output(torch.cat(heads, dim=-1))
    hidden = F.layer_norm(
        attended + queries, [24], layer.attention_norm.weight, layer.attention_norm.bias, 1e-12
    )
    inner = layer.expand(hidden)
    inner = 0.5 * inner * (1 + torch.erf(inner / math.sqrt(2)))
    update = layer.contract(inner)
    return F.layer_norm(
        update + hidden, [24], layer.output_norm.weight, layer.output_norm.bias, 1e-12
    )


def test_layers_follow_the_definition() -> None:
    torch.manual_seed(0)
    decoder = TagDecoder(CONFIG, token_dim=10).eval()
    for parameter in decoder.parameters():
        torch.nn.init.normal_(parameter, std=0.5)
    queries, tokens = torch.randn(5, 24), torch.randn(2, 7, 10)
    with torch.inference_mode():
        ours = decoder(queries[None], tokens)
        for image in range(2):
            states = queries
            for layer in decoder.layers:
                assert isinstance(layer, TagDecoderLayer)
                states = _layer_by_hand(layer, states, tokens[image])
            assert torch.allclose(ours[image], states, atol=1e-5)


def test_labels_do_not_see_each_other() -> None:
    torch.manual_seed(0)
    decoder = TagDecoder(CONFIG, token_dim=10).eval()
    queries, tokens = torch.randn(1, 5, 24), torch.randn(2, 7, 10)
    with torch.inference_mode():
        alone = decoder(queries[:, 3:4], tokens)
        together = decoder(queries, tokens)[:, 3:4]
    assert torch.allclose(alone, together, atol=1e-6)


def test_shared_queries_equal_repeated_ones() -> None:
    torch.manual_seed(0)
    decoder = TagDecoder(CONFIG, token_dim=10).eval()
    queries, tokens = torch.randn(1, 5, 24), torch.randn(3, 7, 10)
    with torch.inference_mode():
        shared = decoder(queries, tokens)
        repeated = decoder(queries.repeat(3, 1, 1), tokens)
    assert torch.allclose(shared, repeated, atol=1e-6)


def test_dropout_acts_in_training_only() -> None:
    torch.manual_seed(0)
    decoder = TagDecoder(CONFIG, token_dim=10)
    queries, tokens = torch.randn(1, 5, 24), torch.randn(1, 7, 10)
    assert not torch.equal(decoder(queries, tokens), decoder(queries, tokens))
    decoder.eval()
    assert torch.equal(decoder(queries, tokens), decoder(queries, tokens))

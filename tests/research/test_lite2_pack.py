"""Linear classifiers become label queries and the direct term of a RAM."""

import pytest
import torch
from torch.nn import functional as F

from research.ram_mini.lite2.pack import Linear, lite2_config, pack

TAGS, FURTHER = 300, 20  # more tags than the model has ranks


@pytest.fixture(scope="module")
def packed():
    random = torch.Generator().manual_seed(0)
    pooled = torch.rand(400, 1280, generator=random)
    topics = torch.randn(TAGS + FURTHER, 40, generator=random)
    texts = F.normalize(topics @ torch.randn(40, 512, generator=random), dim=-1)
    # the meaning of a word is in its text, but for a part that is the tag's own
    meaning = texts @ torch.randn(512, 1280, generator=random)
    weight = 0.2 * meaning + 0.02 * torch.randn(TAGS + FURTHER, 1280, generator=random)
    bias = torch.linspace(-6, 1, TAGS + FURTHER) - weight @ pooled.mean(0)
    linear = Linear(weight, bias)
    return pack(linear, pooled, texts, TAGS), linear, pooled, texts


def test_the_model_scores_as_the_classifiers_do(packed):
    model, linear, pooled, _ = packed
    with torch.inference_mode():
        tokens = model.image_projection(pooled).unsqueeze(1)
        logits = model.decode_tags(tokens, model.label_queries())
    wanted = (pooled @ linear.weight.T + linear.bias)[:, :TAGS]
    assert logits.shape == (400, TAGS)
    assert (logits - wanted).abs().mean() < 0.1 * wanted.std()


def test_text_alone_gives_every_word_a_score(packed):
    model, linear, pooled, texts = packed
    assert model.config == lite2_config(TAGS)
    with torch.inference_mode():
        queries = F.relu(model.label_projection(texts)).unsqueeze(0)
        logits = model.decode_tags(model.image_projection(pooled).unsqueeze(1), queries)
    wanted = pooled @ linear.weight.T + linear.bias
    likeness = torch.corrcoef(torch.stack([logits[:, -1], wanted[:, -1]]))[0, 1]
    assert likeness > 0.5  # a further word, which has no label of its own
    assert torch.equal(queries[..., -1], torch.ones_like(queries[..., -1]))


def test_labels_fit_into_half_precision(packed):
    model, _, pooled, _ = packed
    with torch.inference_mode():
        before = model.decode_tags(model.image_projection(pooled[:9, None]), model.label_queries())
        half = model.half().float()
        after = half.decode_tags(half.image_projection(pooled[:9, None]), half.label_queries())
    assert torch.allclose(before.sigmoid(), after.sigmoid(), atol=0.02)

"""The job that teaches ram-mini more words, without its data."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ram_model import Ram, Vocabulary, load_folder, save_folder, variant
from research.ram_mini.prepare import TagLine, read_tags
from research.ram_mini.student import begin_from, widened
from research.ram_mini.views import random_boxes
from research.ram_mini.widen import Probe, Teacher, decode, fit_probe

OLD_NAMES = ("cat", "dog", "sky")
TAGS = [TagLine(name, "object", frozenset({name})) for name in ("dog", "moon", "cat")]


def old_model() -> Ram:
    torch.manual_seed(0)
    config = variant("mini", num_tags=len(OLD_NAMES))
    tag_decoder = replace(config.tag_decoder, dropout=0.0)
    return Ram(replace(config, tag_decoder=tag_decoder)).eval()


def test_tags_it_knew_keep_their_scores() -> None:
    old = old_model()
    tokens = torch.randn(2, 16, old.config.image_encoder.width)
    new = widened(old, OLD_NAMES, TAGS).eval()
    before, after = decode(old, tokens), decode(new, tokens)
    assert torch.allclose(after[:, [0, 2]], before[:, [1, 0]], atol=1e-6)


def test_queries_of_text_are_learned_from_here_on(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The first ram-mini had them: training goes on from its scores, and says what is lost."""
    names = tuple(reversed([tag.name for tag in read_tags()]))
    config = replace(variant("mini", num_tags=len(names)), train_labels=False)
    thresholds = np.full(len(names), 0.5, np.float32)
    vocabulary = Vocabulary(names=names, thresholds=thresholds)
    folder = save_folder(Ram(config), config, vocabulary, tmp_path)
    shipped = load_folder(folder)
    assert isinstance(shipped.model, Ram)
    begun = begin_from(folder).eval()
    assert begun.config.train_labels
    assert begun.label_embeddings.requires_grad
    assert "research.ram_mini.open" in capsys.readouterr().out
    tokens = torch.randn(2, 16, begun.config.image_encoder.width)
    order = [shipped.vocabulary.names.index(tag.name) for tag in read_tags()]
    assert torch.allclose(decode(begun, tokens), decode(shipped.model, tokens)[:, order])


def test_teacher_asks_the_old_model_only_where_it_knows_the_tag() -> None:
    old = old_model()
    tokens = torch.randn(4, 16, old.config.image_encoder.width)
    probe = Probe(tokens.mean(1), torch.full((4, 3), 0.5))  # untrained: logit 0 for all
    soft = Teacher(probe, old, OLD_NAMES, TAGS)(tokens, torch.tensor([1, 2]))
    assert torch.equal(soft[:, 0], torch.zeros(4))
    assert torch.allclose(soft[:, 1], decode(old, tokens)[:, 0] / 2)


def test_probe_separates_what_is_separable() -> None:
    truth = (torch.arange(60) % 2).float()[:, None]
    pooled = torch.randn(60, 5, generator=torch.Generator().manual_seed(0))
    pooled[:, :1] += 4 * truth
    probe = fit_probe(pooled, truth.numpy())
    assert (((probe(pooled) > 0) == (truth > 0)).float().mean()) > 0.9


def test_boxes_lie_in_the_grid_and_leave_some_photos_whole() -> None:
    boxes = random_boxes(np.random.default_rng(0), 300).reshape(300, 4, 4)
    sizes = boxes.sum((1, 2))
    assert 50 < (sizes == 0).sum() < 150
    assert sizes.max() <= 9
    for box in boxes[sizes > 0]:
        rows, columns = box.any(1), box.any(0)
        assert box.sum() == rows.sum() * columns.sum()  # a rectangle


def test_words_that_are_no_tags_are_never_shown() -> None:
    tags = read_tags()
    assert {tag.name for tag in tags if not tag.shown} >= {"young", "wearing"}
    assert sum(tag.shown for tag in tags) == 228
    assert len({tag.name for tag in tags}) == len(tags)

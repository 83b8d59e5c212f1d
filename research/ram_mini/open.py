"""Let ram-mini take any word as a tag: its label queries become text, its scores stay.

    python -m research.ram_mini.train_text_tower ...            (once; it sees no photo)
    python -m research.ram_mini.open --cache runs/cache --run runs/open --text runs/text \
        --from model/ram_model/weights/ram-mini --folder model/ram_model/weights/ram-mini

A minute and a half of one CPU core, most of it for the image encoder's tokens of all photos. Image
encoder and tag decoder stay as they are. Only the projection from label embeddings to queries is
learned anew: what the decoder makes of a word's text shall agree with captions and with a linear
probe, for the tags and for the frequent words of the captions. A known tag keeps its scores: its
label embedding is its text and an offset, such that its query is the one it had. A new word has no
offset.
"""

import argparse
import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ram_model import Ram, RamConfig, load_folder
from ram_model.files.checkpoint import write_folder
from ram_model.words.label_embeddings import TEMPLATES, TEXT_ENCODER
from ram_model.words.prompts import read_templates, write_prompts
from ram_model.words.text_encoder import CONFIG, WEIGHTS, load_text_encoder
from research.ram_mini.data import mean_ap
from research.ram_mini.prepare import TagLine, has_fast_bfloat16, read_tags
from research.ram_mini.tokens import Photos, encode_photos, train_on_tokens
from research.ram_mini.widen import Teacher
from research.ram_mini.words import caption_labels

STEPS = 200
PROJECTION_LR = 2e-3
WEIGHT_DECAY = 0.05
RIDGE = 1.0
OPEN_SET_THRESHOLD = 0.15  # benchmarks/results/2026-11-26-ram-mini-open-set.md


class Opened(NamedTuple):
    """A model whose label queries are text."""

    model: Ram
    """Its labels are the tags given, then none."""
    texts: Tensor
    """float32 [tags, E], what a new word would have in the place of its label embedding."""


def main(cache: Path, run: Path, text: Path, start: Path, folder: Path) -> dict:
    """Encode, learn the projection, write the folder; return what changed for the tags."""
    old = load_folder(start)
    assert isinstance(old.model, Ram)
    encode_photos(old.model, cache, run)
    photos = Photos(cache, run)
    tags = [tag for tag in read_tags() if tag.name in old.vocabulary.names]
    assert tuple(tag.name for tag in tags) == old.vocabulary.names
    others = caption_labels([photos.words[row] for row in photos.train_rows], tags)
    opened = open_queries(old.model, photos, [*tags, *others], text, num_tags=len(tags))
    write(opened.model, old.vocabulary, text, folder)
    return compare(old.model, opened, folder, photos, tags)


def open_queries(
    old: Ram, photos: Photos, labels: Sequence[TagLine], text: Path, *, num_tags: int
) -> Opened:
    """Return `old` with a projection that makes queries of text; its own tags score as before.

    Args:
        labels: the `num_tags` tags of `old`, then words to learn the projection from.
    """
    texts = embed(text, [label.name for label in labels])
    with torch.no_grad():
        queries = old.label_projection(old.label_embeddings)  # [tags, D], before the ReLU
    model = with_labels(old, texts)
    model.label_projection = fit_projection(texts[:num_tags], queries)
    model.requires_grad_(False)
    model.label_projection.requires_grad_(True)
    targets = photos.targets(labels)
    teacher = Teacher(photos.probe(targets), old, tuple(t.name for t in labels[:num_tags]),
                      list(labels))  # fmt: skip
    groups = [
        {"params": list(model.label_projection.parameters()), "lr": PROJECTION_LR}
        | {"weight_decay": WEIGHT_DECAY}
    ]
    train_on_tokens(model, groups, photos, targets, teacher, num_tags=num_tags, steps=STEPS)
    known = texts[:num_tags]
    rows = known + offsets(model.label_projection, known, queries)
    return Opened(with_labels(model, rows), known)


def embed(text: Path, words: Sequence[str]) -> Tensor:
    """Return label embeddings [L, E] of `words`, as tagging makes those of new ones."""
    encoder, templates = load_text_encoder(text / TEXT_ENCODER), read_templates(text / TEMPLATES)
    vectors = encoder.encode([p for word in words for p in write_prompts(word, templates)])
    return F.normalize(vectors.unflatten(0, (len(words), -1)).mean(1), dim=-1)


def with_labels(model: Ram, rows: Tensor) -> Ram:
    """Return a model of these label embeddings [L, E], which are frozen; it shares the rest."""
    config = replace(model.config, num_tags=len(rows), train_labels=False)
    with torch.device("meta"):
        other = Ram(config)
    for name, child in model.named_children():
        setattr(other, name, child)
    other.label_embeddings = nn.Parameter(rows.detach().clone(), requires_grad=False)
    return other.eval()


def fit_projection(texts: Tensor, queries: Tensor) -> nn.Linear:
    """Return the ridge regression from texts [C, E] to queries [C, D]."""
    mean = queries.mean(0)
    kernel = texts @ texts.T + RIDGE * torch.eye(len(texts))
    layer = nn.Linear(texts.shape[1], queries.shape[1])
    with torch.no_grad():
        layer.weight.copy_((texts.T @ torch.linalg.solve(kernel, queries - mean)).T)
        layer.bias.copy_(mean)
    return layer


@torch.no_grad()
def offsets(projection: nn.Linear, texts: Tensor, queries: Tensor) -> Tensor:
    """Return the shortest offsets [C, E] with which texts are projected to these queries."""
    missing = (queries - projection(texts)).double()
    weight = projection.weight.double()
    return (missing @ torch.linalg.pinv(weight).T).float()


def write(model: Ram, vocabulary, text: Path, folder: Path) -> None:
    """Write the model folder with its text encoder; other files in it stay."""
    parts = [f"{TEXT_ENCODER}/{CONFIG}", f"{TEXT_ENCODER}/{WEIGHTS}", TEMPLATES]
    (folder / TEXT_ENCODER).mkdir(parents=True, exist_ok=True)
    for part in parts:
        shutil.copyfile(text / part, folder / part)
    config: RamConfig = replace(model.config, open_set_threshold=OPEN_SET_THRESHOLD, captions=None)
    state = model.state_dict()
    write_folder(state, config, vocabulary, folder, dtype=torch.float16, parts=parts)


def compare(old: Ram, opened: Opened, folder: Path, photos: Photos, tags: list[TagLine]) -> dict:
    """Return how far the written model's scores lie from the old one's, and mAP on tar 9."""
    rows, targets = photos.threshold_rows, photos.targets(tags)
    written = load_folder(folder).model
    assert isinstance(written, Ram)
    before, after = photos.logits(old, rows), photos.logits(written, rows)
    as_new = photos.logits(with_labels(opened.model, opened.texts), rows)
    sigmoid = lambda logits: 1 / (1 + np.exp(-logits))  # noqa: E731
    truth = targets[rows].astype(np.float32)
    return {
        "largest_score_difference": float(np.abs(sigmoid(before) - sigmoid(after)).max()),
        "tar_9_map": mean_ap(truth, before, minimum=5),
        "tar_9_map_written": mean_ap(truth, after, minimum=5),
        "tar_9_map_of_tags_as_new_words": mean_ap(truth, as_new, minimum=5),
        "bytes": sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        "bfloat16": has_fast_bfloat16(),
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--cache", "--run", "--text", "--folder"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--from", type=Path, dest="start", required=True, help="model folder")
    a = parser.parse_args()
    print(json.dumps(main(a.cache, a.run, a.text, a.start, a.folder), indent=2))

"""A tiny model with a caption side and random weights: quick, and never twice the same caption."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from ram_model import CaptionConfig, Ram, Tag2Text, Vocabulary, WordPieceTokenizer, save_folder
from ram_model.config import Kind, variant

NAMES = ("dog", "run", "sea", "run", "tree", "cat")  # two tags of one name: noun and verb
VOCABULARY = Vocabulary(names=NAMES, thresholds=np.full(len(NAMES), 0.5))

_WORDS = "a picture of the dog cat sea tree run red car by and two near in grass . ' s ! -"
PIECES = (
    "[PAD]",
    *("[UNK]", "[CLS]", "[SEP]", "[MASK]"),
    *_WORDS.split(),
    "##ning",
    "##s",
    "|",
)


def tokenizer() -> WordPieceTokenizer:
    return WordPieceTokenizer(PIECES)


def captions_config() -> CaptionConfig:
    return CaptionConfig(
        num_heads=8,
        num_layers=3,
        intermediate_dim=128,
        vocab_size=len(PIECES) + 2,
        num_positions=64,
    )


def captioning_model(kind: Kind = "tag2text", *, seed: int = 0) -> Ram:
    config = variant("tiny", kind=kind, num_tags=len(NAMES))
    config = replace(config, captions=captions_config())
    torch.manual_seed(seed)
    model = Tag2Text(config) if kind == "tag2text" else Ram(config)
    # BERT's small initial weights make all pieces as likely as each other
    head = model.require_caption_head()
    for parameter in (*head.parameters(), *model.tag_decoder.parameters()):
        if parameter.ndim > 1:
            torch.nn.init.normal_(parameter, std=0.3)
    torch.nn.init.normal_(model.classifier.weight, std=0.3)
    return model.eval()


def write_captioning_folder(folder: Path, *, kind: Kind = "tag2text") -> Path:
    """Write a model folder with a caption side; return it."""
    word_pieces = folder.parent / "vocab.txt"
    word_pieces.parent.mkdir(parents=True, exist_ok=True)
    word_pieces.write_text("\n".join(PIECES) + "\n", encoding="utf-8")
    model = captioning_model(kind)
    return save_folder(model, model.config, VOCABULARY, folder, word_pieces=word_pieces)


def pixels(count: int, *, seed: int = 0) -> np.ndarray:
    """uint8 [count, 128, 128, 3], each image with colours of its own."""
    random = np.random.default_rng(seed)
    colours = random.integers(0, 256, (count, 4, 4, 3), dtype=np.uint8)
    return colours.repeat(32, axis=1).repeat(32, axis=2)

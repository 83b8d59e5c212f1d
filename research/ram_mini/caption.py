"""Teach ram-mini to write captions: a small tag encoder and text decoder on cached tokens.

    python -m research.ram_mini.caption --cache runs/cache --run runs/open --minutes 5 \
        --from model/ram_model/weights/ram-mini --folder model/ram_model/weights/ram-mini

Nothing that tagging uses changes. The caption side is Tag2Text's (arXiv 2303.05657), narrow: the
tags as text read the image, and a decoder writes from what they have become; teacher forcing on the
five captions of each training photo. Half of the photos are guided by the tags that the model finds
in them, as in use, half by some of those that their captions say. Its word pieces come from the
same captions. Minutes are CPU time. Chosen on tar 9; prints CIDEr there and on tars 10 and 11,
beside the captions of the training photo whose SqueezeNet features are nearest.
"""

import argparse
import json
import math
import shutil
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file
from tokenizers import Tokenizer
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer
from tokenizers.trainers import WordPieceTrainer
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel

from ram_model import CaptionConfig, Ram, load_folder
from ram_model.captioning import PROMPT, TAG_SEPARATOR
from ram_model.files.caption_files import CAPTION_WEIGHTS, WORD_PIECES
from ram_model.files.checkpoint import CHECKSUMS, CONFIG, VOCABULARY, WEIGHTS, write_folder
from ram_model.training.losses import caption_loss
from ram_model.wordpiece import WordPieceTokenizer
from research.ram_mini.cider import measure, plain, project
from research.ram_mini.prepare import has_fast_bfloat16, read_tags
from research.ram_mini.tokens import Photos, encode_photos

WORD_PIECES_WANTED = 2000
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
NUM_LAYERS = 3  # the tag decoder lends two; the third of the tag encoder is captions' own
NUM_HEADS = 4
LONGEST_TEXT = 64
PHOTOS_PER_STEP = 32
CAPTIONS_PER_PHOTO = 4  # its shortest, which share what the tag encoder made
PEAK_LR = 2e-3
WEIGHT_DECAY = 0.05
WARM_UP_STEPS = 100
EMA_DECAY = 0.995
TAG_CHANCE = 0.5  # at most, of a tag of the captions to guide
STEPS_PER_LINE = 100


def main(
    cache: Path, run: Path, start: Path, folder: Path, minutes: float, warm: Path | None = None
) -> dict:
    """Train the caption side, write the folder with it, and measure.

    Args:
        warm: model folder whose caption side training begins with; None: a random one.
    """
    loaded = load_folder(start)
    assert isinstance(loaded.model, Ram)
    encode_photos(loaded.model, cache, run)
    photos = Photos(cache, run)
    pieces = run / WORD_PIECES
    if warm is None:
        said = [caption for row in photos.train_rows for caption in photos.captions[row]]
        pieces.write_text("\n".join(learn_word_pieces(said)) + "\n", encoding="utf-8")
    else:  # the library's trainer breaks ties at random
        shutil.copyfile(warm / WORD_PIECES, pieces)
    tokenizer = WordPieceTokenizer.from_file(pieces)
    model = with_caption_head(loaded.model, tokenizer)
    if warm is not None:
        state = load_file(warm / CAPTION_WEIGHTS)
        model.load_state_dict(
            {name: tensor.float() for name, tensor in state.items()}, strict=False
        )
    guides = Guides(loaded.model, photos, loaded.vocabulary.thresholds)
    train(model, tokenizer, photos, guides, minutes * 60)
    recorded = json.loads((start / CHECKSUMS).read_text())
    parts = [n for n in recorded if n not in (CONFIG, WEIGHTS, VOCABULARY) and "caption" not in n]
    parts = [n for n in parts if n != WORD_PIECES]
    state, config = model.state_dict(), model.config
    config = replace(config, open_set_threshold=loaded.config.open_set_threshold)
    write_folder(state, config, loaded.vocabulary, folder, dtype=torch.float16,
                 word_pieces=pieces, parts=parts)  # fmt: skip
    return measure(folder, photos, guides, cache)


def learn_word_pieces(captions: Sequence[str]) -> list[str]:
    """Return the word pieces of these captions, BERT's special ones first."""
    tokenizer = Tokenizer(WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = BertPreTokenizer()
    trainer = WordPieceTrainer(
        vocab_size=WORD_PIECES_WANTED, special_tokens=list(SPECIAL), show_progress=False
    )
    texts = [PROMPT + TAG_SEPARATOR + plain(caption) for caption in captions]
    tokenizer.train_from_iterator(texts, trainer)
    by_id = sorted((number, piece) for piece, number in tokenizer.get_vocab().items())
    return [piece for _, piece in by_id]


def with_caption_head(old: Ram, tokenizer: WordPieceTokenizer, num_layers: int = NUM_LAYERS) -> Ram:
    """Return `old` with a random caption side, the only part that is trained."""
    torch.manual_seed(0)
    captions = CaptionConfig(
        num_heads=NUM_HEADS,
        num_layers=num_layers,
        intermediate_dim=old.config.tag_decoder.intermediate_dim,
        vocab_size=tokenizer.vocab_size,
        num_positions=LONGEST_TEXT,
        dropout=0.0,  # a few passes do not overfit, and drawing the masks takes a fifth of a step
    )
    model = Ram(replace(old.config, captions=captions))
    model.load_state_dict(old.state_dict(), strict=False)
    model.requires_grad_(False)
    assert model.caption_head is not None
    model.caption_head.requires_grad_(True)
    return model


class Guides:
    """Which tags guide the caption of a photo."""

    def __init__(self, model: Ram, photos: Photos, thresholds: np.ndarray) -> None:
        tags = read_tags()
        self.names = [tag.name for tag in tags]
        self._said = photos.targets(tags) & np.array([tag.shown for tag in tags])
        everything = np.arange(len(photos.captions))
        self._found = 1 / (1 + np.exp(-photos.logits(model, everything))) > thresholds

    def found(self, rows: np.ndarray) -> list[list[str]]:
        """Return the tags that the model finds, as in use."""
        return [self._names(self._found[row]) for row in rows]

    def drawn(self, rows: np.ndarray, random: np.random.Generator) -> list[list[str]]:
        """Return the found tags of half of the photos, some of the said ones of the others."""
        guides = []
        for row in rows:
            chance = random.random(len(self.names)) < random.uniform(0, TAG_CHANCE)
            kept = self._found[row] if random.random() < 0.5 else self._said[row] & chance
            guides.append(self._names(kept))
        return guides

    def _names(self, kept: np.ndarray) -> list[str]:
        return [self.names[tag] for tag in np.flatnonzero(kept)]


def train(
    model: Ram,
    tokenizer: WordPieceTokenizer,
    photos: Photos,
    guides: Guides,
    total_s: float,
    *,
    clock: Callable[[], float] = time.process_time,
    photos_per_step: int = PHOTOS_PER_STEP,
) -> int:
    """Train the caption side; the model ends with the running average of its weights.

    Args:
        total_s: on the clock; the learning rate falls with it.

    Returns:
        The steps taken.
    """
    head = model.require_caption_head()
    decayed = [p for p in head.parameters() if p.ndim > 1]
    kept = [p for p in head.parameters() if p.ndim <= 1]
    groups = [{"params": decayed}, {"params": kept, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_LR, weight_decay=WEIGHT_DECAY)
    average = {name: tensor.clone() for name, tensor in head.state_dict().items()}
    started, step, total = clock(), 0, 0.0
    while (part := (clock() - started) / total_s) < 1:
        random = np.random.default_rng(step)
        rate = min(1.0, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * part))
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LR * max(rate, 0.01)
        rows = random.choice(photos.train_rows, photos_per_step, replace=False)
        loss = caption_step(model.train(), tokenizer, photos, guides, rows, random)
        if not torch.isfinite(loss):
            raise RuntimeError("The loss is not finite; start again with a lower PEAK_LR.")
        optimizer.zero_grad()
        with sdpa_kernel(SDPBackend.MATH):
            loss.backward()
        nn.utils.clip_grad_norm_(head.parameters(), 1.0)
        optimizer.step()
        step += 1
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        for name, tensor in head.state_dict().items():
            average[name].lerp_(tensor, 1 - decay)
        total += loss.item()
        if step % STEPS_PER_LINE == 0:
            print({"step": step, "loss": round(total / STEPS_PER_LINE, 4)}, flush=True)
            total = 0.0
    head.load_state_dict(average)
    return step


def caption_step(
    model: Ram,
    tokenizer: WordPieceTokenizer,
    photos: Photos,
    guides: Guides,
    rows: np.ndarray,
    random: np.random.Generator,
) -> Tensor:
    """Return the cross entropy of the next word piece, of all captions of some photos."""
    view = random.integers(0, 2, len(rows))
    tokens = photos.tokens[rows, view].float()
    short = [sorted(photos.captions[row], key=len)[:CAPTIONS_PER_PHOTO] for row in rows]
    written = [PROMPT + plain(text) for texts in short for text in texts]
    pieces, mask = tokenizer.encode_captions(written)
    tag_pieces, tag_mask = tokenizer.encode_tags(
        [TAG_SEPARATOR.join(names) for names in guides.drawn(rows, random)]
    )
    with (
        sdpa_kernel(SDPBackend.MATH),
        torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()),
    ):
        memory = model.encode_tag_text(tag_pieces, tag_mask, project(model, tokens))
        logits = model.require_caption_head().text_decoder(pieces, mask, memory)
    return caption_loss(logits, pieces)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--cache", "--run", "--folder"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--from", type=Path, dest="start", required=True, help="model folder")
    parser.add_argument("--minutes", type=float, default=5)
    parser.add_argument("--warm", type=Path, help="folder whose caption side to begin with")
    a = parser.parse_args()
    print(json.dumps(main(a.cache, a.run, a.start, a.folder, a.minutes, a.warm), indent=2))

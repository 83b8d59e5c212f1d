"""Train the upper half of Lite2 with one linear classifier per word on its mean token.

    python -m research.ram_mini.lite2.tune train --data ../shared/data --wheels WHEELS \
        --cache CACHE --vocabulary VOCABULARY --run RUN --seed 0 --steps 400
    python -m research.ram_mini.lite2.tune merge (the same)

A linear probe on frozen features beat the decoder that came before; so the classifiers begin as
those probes and the class head (`start.py`), and the encoder learns beside them. Saved every 50
steps, so that a run that was stopped goes on. Runs of several seeds begin with the same weights, so
that the mean of their weights is one model, a better one; `merge` makes it, and tuned.npy, the
tokens of all views.
"""

import argparse
import copy
import json
import math
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from research.ram_mini.data import mean_ap
from research.ram_mini.lite2.features import TUNED, Features
from research.ram_mini.lite2.lower import SIDE, Upper, folded_network
from research.ram_mini.lite2.photos import GRID, IMAGENET
from research.ram_mini.lite2.start import linear_teachers
from research.ram_mini.lite2.vocabulary import load_words
from research.ram_mini.prepare import has_fast_bfloat16
from research.ram_mini.views import random_boxes

BATCH_SIZE = 64
IMAGENET_SHARE = 0.35  # of the views of a step; they are the only ones of most tags
VISIBLE = 1.5  # a thing is seen whole where this share's inverse of its photo is left
ENCODER_LR, HEAD_LR = 2e-4, 3e-4
WEIGHT_DECAY = 0.02
WARM_UP_STEPS = 50
EMA_DECAY = 0.995
STEPS_PER_LINE = 50
FROZEN_STAGES = 1  # of the three of the upper half: a third of a step's time, little to learn


class Tuned(nn.Module):
    """Upper half and classifiers: maps to one logit per word."""

    def __init__(self, upper: Upper, weight: Tensor, bias: Tensor) -> None:
        """Begin with weight [words, 1280] and bias [words]."""
        super().__init__()
        self.upper = upper
        self.head = nn.Linear(weight.shape[1], len(weight))
        with torch.no_grad():
            self.head.weight.copy_(weight)
            self.head.bias.copy_(bias)

    def forward(self, maps: Tensor) -> Tensor:
        """Return logits [B, words]."""
        return self.head(self.upper(maps).float().mean(1))


class Lesson:
    """Maps and targets, and the batches drawn from them."""

    def __init__(self, features: Features, cache: Path, soft: np.ndarray) -> None:
        self.maps = np.load(cache / "maps.npy", mmap_mode="r")
        self.soft = soft
        rows = features.train_rows
        is_imagenet = features.group[features.photo_of[rows]] == IMAGENET
        self.pools = (rows[~is_imagenet], rows[is_imagenet])

    def read(self, rows: np.ndarray) -> Tensor:
        """Return maps, float32 [len(rows), 88, 12, 12], channels last."""
        return torch.from_numpy(self.maps[rows]).float().permute(0, 3, 1, 2)

    def draw(self, random: np.random.Generator) -> tuple[Tensor, Tensor]:
        """Return maps and targets [B, words] of views, two of three mixed in pairs."""
        from_imagenet = random.random(BATCH_SIZE) < IMAGENET_SHARE
        rows = np.where(from_imagenet, random.choice(self.pools[1], BATCH_SIZE),
                        random.choice(self.pools[0], BATCH_SIZE))  # fmt: skip
        other = random.permutation(BATCH_SIZE)
        maps, targets = self.read(rows), torch.from_numpy(self.soft[rows]).float()
        taken = torch.from_numpy(random_boxes(random, BATCH_SIZE, GRID))
        share = taken.float().mean(1, keepdim=True)
        seen = [(VISIBLE * part).clamp(max=1) for part in (1 - share, share)]
        wanted = 1 - (1 - targets * seen[0]) * (1 - targets[other] * seen[1])
        fine = taken.view(-1, 1, GRID, GRID).repeat_interleave(SIDE // GRID, 2)
        fine = fine.repeat_interleave(SIDE // GRID, 3)
        return torch.where(fine, maps[other], maps), wanted


def train(
    model: Tuned, lesson: Lesson, total: int, run: Path, seed: int, look: Callable[[Tuned], dict]
) -> None:
    """Train from the last checkpoint on.

    Args:
        look: from a model to what is printed of it.
    """
    groups = [
        {"params": list(model.upper.parameters()), "peak": ENCODER_LR},
        {"params": list(model.head.parameters()), "peak": HEAD_LR},
    ]
    model.requires_grad_(True)
    model.upper.blocks[:FROZEN_STAGES].requires_grad_(False)
    optimizer = torch.optim.AdamW(groups, lr=ENCODER_LR, weight_decay=WEIGHT_DECAY)
    average = {name: value.clone() for name, value in model.state_dict().items()}
    step, loss_sum = 0, 0.0
    checkpoint = run / f"seed-{seed}.pt"
    if checkpoint.exists():
        kept = torch.load(checkpoint, weights_only=True)
        model.load_state_dict(kept["state"])
        optimizer.load_state_dict(kept["optimizer"])
        average, step = kept["average"], kept["step"]
    while step < total:
        rate = min(1.0, (step + 1) / WARM_UP_STEPS) * 0.5 * (1 + math.cos(math.pi * step / total))
        for group in optimizer.param_groups:
            group["lr"] = group["peak"] * max(rate, 0.01)
        loss_sum += train_step(model, optimizer, lesson, np.random.default_rng((seed, step)))
        step += 1
        decay = min(EMA_DECAY, (1 + step) / (10 + step))
        for name, value in model.state_dict().items():
            average[name].lerp_(value, 1 - decay)
        if step % STEPS_PER_LINE == 0 or step == total:
            line = {"step": step, "cpu_s": round(time.process_time()), "loss": loss_sum}
            print(json.dumps(line | look(averaged(model, average))), flush=True)
            loss_sum = 0.0
            state = {"state": model.state_dict(), "optimizer": optimizer.state_dict(),
                     "average": average, "step": step}  # fmt: skip
            torch.save(state, checkpoint.with_suffix(".tmp"))
            checkpoint.with_suffix(".tmp").replace(checkpoint)


def train_step(
    model: Tuned, optimizer: torch.optim.Optimizer, lesson: Lesson, random: np.random.Generator
) -> float:
    """Take one step; return the cross entropy of all words of a view."""
    maps, wanted = lesson.draw(random)
    with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
        tokens = model.upper(maps)
    logits = model.head(tokens.float().mean(1))
    loss = F.binary_cross_entropy_with_logits(logits, wanted, reduction="sum") / BATCH_SIZE
    if not torch.isfinite(loss):
        raise RuntimeError("The loss is not finite; start again with a lower ENCODER_LR.")
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 5.0)
    optimizer.step()
    return loss.item()


def averaged(model: Tuned, average: dict[str, Tensor]) -> Tuned:
    """Return a copy of the model with the averaged weights."""
    other = copy.deepcopy(model)
    other.load_state_dict(average)
    return other.eval()


@torch.inference_mode()
def predict(model: Tuned, lesson: Lesson, rows: np.ndarray) -> np.ndarray:
    """Return scores [rows, words] of whole photos, in float32 as in use."""
    parts = np.array_split(rows, max(1, len(rows) // 50))
    return torch.cat([model(lesson.read(part)) for part in parts]).sigmoid().numpy()


@torch.inference_mode()
def write_tokens(model: Tuned, lesson: Lesson, path: Path, precise: np.ndarray) -> None:
    """Write float16 [rows, 36, 1280], the tokens of all views.

    Args:
        precise: bool [rows], these are computed in float32 as in use.
    """
    shape = (len(lesson.maps), GRID * GRID, model.head.in_features)
    tokens = np.lib.format.open_memmap(path.with_suffix(".tmp"), "w+", np.float16, shape)
    for part in np.array_split(np.arange(shape[0]), shape[0] // 100):
        fast = has_fast_bfloat16() and not precise[part].any()
        with torch.autocast("cpu", torch.bfloat16, enabled=fast):
            tokens[part] = model.upper(lesson.read(part)).half().numpy()
    path.with_suffix(".tmp").rename(path)


def merge(model: Tuned, run: Path) -> Tuned:
    """Return the mean of the averaged weights of all seeds."""
    paths = sorted(run.glob("seed-*.pt"))
    averages = [torch.load(path, weights_only=True)["average"] for path in paths]
    means = {name: torch.stack([one[name] for one in averages]).mean(0) for name in averages[0]}
    return averaged(model, means)


def main(
    data: Path, wheels: Path, cache: Path, vocabulary: Path, run: Path, seed: int, steps: int | None
) -> None:
    """Train, with a look at tar 9 at each save; or merge, where `steps` is None."""
    run.mkdir(parents=True, exist_ok=True)
    words, features = load_words(data, vocabulary), Features(cache)
    with np.load(cache / "targets.npz") as kept:
        soft, by_captions = kept["soft"], kept["by_captions"]
    lesson = Lesson(features, cache, soft)
    if not (run / "linear.pt").exists():
        made = linear_teachers(features, soft, by_captions, words.class_tags, wheels)
        torch.save(made, run / "linear.pt")
    weight, bias = torch.load(run / "linear.pt", weights_only=True)
    model = Tuned(Upper(folded_network(wheels)), weight, bias)
    rows = features.threshold_rows
    said = np.load(cache / "said.npy")[rows].astype(np.float32)

    def look(tuned: Tuned) -> dict:
        return {"tar_9_map": mean_ap(said, predict(tuned, lesson, rows)[:, : said.shape[1]], 5)}

    print("start", look(model.eval()), flush=True)
    if steps is not None:
        train(model, lesson, steps, run, seed, look)
        return
    tuned = merge(model, run)
    print("merged", look(tuned), flush=True)
    precise = ~np.isin(np.arange(len(features.views)), features.train_rows)
    write_tokens(tuned, lesson, cache / TUNED, precise)
    torch.save(tuned.state_dict(), run / "tuned.pt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--wheels", "--cache", "--vocabulary", "--run"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("command", choices=["train", "merge"])
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--seed", type=int, default=0)
    a = parser.parse_args()
    steps = a.steps if a.command == "train" else None
    main(a.data, a.wheels, a.cache, a.vocabulary, a.run, a.seed, steps)

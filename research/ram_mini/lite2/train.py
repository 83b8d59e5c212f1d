"""Train the tag decoder of ram-mini on Lite2's features; the image encoder stays as published.

    python -m research.ram_mini.lite2.train --data ../shared/data --wheels WHEELS --cache CACHE \
        --vocabulary VOCABULARY --text model/ram_model/weights/ram-mini --run RUN --minutes 6

Label queries are text and an offset per tag; in a part of each step the offset is left out, so that
a word that no tag has is scored by its text alone. Photos are mixed in pairs by boxes of cells, and
a mixed photo shows what both show. Minutes are CPU time; run again to go on.
"""

import argparse
import json
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.attention import SDPBackend, sdpa_kernel

from ram_model.config import RamConfig, variant
from ram_model.networks.ram import Ram
from research.ram_mini.data import mean_ap
from research.ram_mini.lite2.features import Features
from research.ram_mini.lite2.photos import GRID, IMAGENET
from research.ram_mini.lite2.start import start_from_teachers
from research.ram_mini.lite2.vocabulary import load_words
from research.ram_mini.open import embed
from research.ram_mini.prepare import has_fast_bfloat16
from research.ram_mini.probe import decode
from research.ram_mini.views import random_boxes

BATCH_SIZE = 64
IMAGENET_SHARE = 0.5  # of the photos of a step; they are the only ones of most tags
TAGS_PER_STEP, WORDS_PER_STEP = 128, 24
TEXT_SHARE = 0.25  # of the tags of a step that are scored by their text alone
PEAK_LR, OFFSET_LR = 5e-4, 2e-3  # offsets are rows of unit length, so they need longer steps
WEIGHT_DECAY = 0.02
WARM_UP_STEPS = 50
EMA_DECAY = 0.995
RARE_WEIGHT = 5.0  # of a tag that is there and that captions do not teach: most photos lack it
VISIBLE = 1.5  # a thing is seen whole where this share's inverse of its photo is left
STEPS_PER_LINE = 50


def lite2_config(num_tags: int) -> RamConfig:
    """Return variant "mini_lite2" for this vocabulary; the decoder is too narrow for dropout."""
    config = variant("mini_lite2", num_tags=num_tags).to_json()
    return RamConfig.from_json(config.replace('"dropout": 0.1', '"dropout": 0.0'))


class Lesson:
    """Features and targets, and the batches drawn from them."""

    def __init__(self, features: Features, soft: np.ndarray, by_captions: np.ndarray) -> None:
        self.features, self.soft, self.by_captions = features, soft, by_captions
        self.num_tags = len(by_captions)
        others = np.zeros(soft.shape[1] - len(by_captions), bool)
        self.is_rare = torch.from_numpy(np.concatenate([~by_captions, others]))
        rows = features.train_rows
        is_imagenet = features.group[features.photo_of[rows]] == IMAGENET
        self.pools = (rows[~is_imagenet], rows[is_imagenet])

    def draw(self, random: np.random.Generator) -> tuple[Tensor, Tensor, np.ndarray]:
        """Return mixed tokens [B, 36, 1280], their targets [B, columns], and the columns."""
        from_imagenet = random.random((2, BATCH_SIZE)) < IMAGENET_SHARE
        rows = np.where(from_imagenet, random.choice(self.pools[1], (2, BATCH_SIZE)),
                        random.choice(self.pools[0], (2, BATCH_SIZE)))  # fmt: skip
        first, second = (self.features.batch(part) for part in rows)
        taken = torch.from_numpy(random_boxes(random, BATCH_SIZE, GRID))
        share = taken.float().mean(1, keepdim=True)
        tags = random.permutation(self.num_tags)[:TAGS_PER_STEP]
        others = self.num_tags + random.permutation(self.soft.shape[1] - self.num_tags)
        columns = np.concatenate([tags, others[:WORDS_PER_STEP]])
        one, two = (torch.from_numpy(self.soft[part][:, columns]).float() for part in rows)
        seen = [(VISIBLE * part).clamp(max=1) for part in (1 - share, share)]
        wanted = 1 - (1 - one * seen[0]) * (1 - two * seen[1])
        return torch.where(taken[:, :, None], second, first), wanted, columns


class Run:
    """Model, offsets, optimizer, averaged weights and position."""

    def __init__(self, config: RamConfig, texts: Tensor, lesson: Lesson, total_s: float) -> None:
        torch.manual_seed(0)
        self.config, self.model = config, Ram(config)
        drop_unused(self.model)
        self.texts, self.lesson, self.total_s = texts, lesson, total_s
        self.offsets = nn.Parameter(torch.zeros(config.num_tags, config.label_dim))
        rest = list(self.model.parameters())
        groups = [
            {"params": rest, "lr": PEAK_LR, "peak": PEAK_LR},
            {"params": [self.offsets], "lr": OFFSET_LR, "peak": OFFSET_LR, "weight_decay": 0.0},
        ]
        self.optimizer = torch.optim.AdamW(groups, weight_decay=WEIGHT_DECAY, betas=(0.9, 0.98))
        self.average = {name: value.clone() for name, value in self.state().items()}
        self.step, self.trained_s = 0, 0.0

    def state(self) -> dict[str, Tensor]:
        """Return what is trained, by name."""
        return {**self.model.state_dict(), "offsets": self.offsets.detach()}

    def train_steps(self) -> dict:
        """Take some steps; return the mean loss."""
        started, total = time.process_time(), 0.0
        for _ in range(STEPS_PER_LINE):
            passed = (self.trained_s + time.process_time() - started) / self.total_s
            self.follow_schedule(passed)
            total += self.take_step()
        self.trained_s += time.process_time() - started
        return {"step": self.step, "cpu_s": round(self.trained_s), "loss": total / STEPS_PER_LINE}

    def follow_schedule(self, passed: float) -> None:
        """Set the learning rate of a part of the training, 0..1: a warm-up, then half a cosine."""
        rate = min(1.0, (self.step + 1) / WARM_UP_STEPS) * 0.5
        rate *= 1 + math.cos(math.pi * min(passed, 1.0))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * max(rate, 0.01)

    def take_step(self) -> float:
        """Take one step and average the weights; return the loss."""
        loss = self.train_step(np.random.default_rng(self.step))
        self.step += 1
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        for name, value in self.state().items():
            self.average[name].lerp_(value, 1 - decay)
        return loss

    def train_step(self, random: np.random.Generator) -> float:
        """Take one step; return the cross entropy, summed over as many labels as tags."""
        tokens, wanted, columns = self.lesson.draw(random)
        num_tags = self.lesson.num_tags
        own = columns[columns < num_tags]
        kept = torch.from_numpy(random.random((len(own), 1)) >= TEXT_SHARE)
        rows = self.texts[columns].clone()
        rows[: len(own)] += self.offsets[own] * kept
        # the flash kernel's backward pass is slow for heads this narrow
        with sdpa_kernel(SDPBackend.MATH):
            with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
                logits = score(self.model, tokens, rows)
            weight = 1 + (RARE_WEIGHT - 1) * wanted * self.lesson.is_rare[columns]
            entropy = F.binary_cross_entropy_with_logits(logits.float(), wanted, weight)
            loss = entropy * num_tags
            if not torch.isfinite(loss):
                raise RuntimeError("The loss is not finite; start again with a lower PEAK_LR.")
            self.optimizer.zero_grad()
            loss.backward()
        parameters = [p for g in self.optimizer.param_groups for p in g["params"]]
        nn.utils.clip_grad_norm_(parameters, 5.0)
        self.optimizer.step()
        return loss.item()

    def save(self, run: Path) -> None:
        """Write checkpoint.pt whole or not at all."""
        state = {
            "state": self.state(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "position": [self.step, self.trained_s],
        }
        torch.save(state, run / "checkpoint.tmp")
        (run / "checkpoint.tmp").replace(run / "checkpoint.pt")

    def begin(self, wheels: Path, class_tags: np.ndarray) -> None:
        """Begin with what the linear teachers know; class_tags: bool [1000, C]."""
        lesson = self.lesson
        begun = start_from_teachers(
            self.model,
            lesson.features,
            lesson.soft,
            lesson.by_captions,
            class_tags,
            self.texts,
            wheels,
        )
        with torch.no_grad():
            self.offsets.copy_(begun)
        self.average = {name: value.clone() for name, value in self.state().items()}

    def averaged(self) -> Ram:
        """Return the model of the averaged weights, without labels and image encoder."""
        model = Ram(self.config)
        drop_unused(model)
        model.load_state_dict({n: v for n, v in self.average.items() if n != "offsets"})
        return model.eval()

    def resume(self, run: Path) -> None:
        """Go on from checkpoint.pt if there is one."""
        if not (run / "checkpoint.pt").exists():
            return
        kept = torch.load(run / "checkpoint.pt", weights_only=True)
        with torch.no_grad():
            self.offsets.copy_(kept["state"].pop("offsets"))
        self.model.load_state_dict(kept["state"])
        self.average = kept["average"]
        self.optimizer.load_state_dict(kept["optimizer"])
        self.step, self.trained_s = kept["position"]


def drop_unused(model: Ram) -> None:
    """Take out what is not trained here: the image encoder, and label embeddings, which are made
    of text and offsets."""
    model.add_module("image_encoder", nn.Identity())
    del model.label_embeddings


def score(model: Ram, tokens: Tensor, rows: Tensor) -> Tensor:
    """Return logits [B, L] of tokens [B, 36, 1280] for label embeddings [L, E]."""
    projected = model.image_projection(torch.cat([tokens.mean(1, keepdim=True), tokens], dim=1))
    return model.decode_tags(projected, F.relu(model.label_projection(rows)).unsqueeze(0))


def finished_model(average: dict[str, Tensor], texts: Tensor, encoder: nn.Module) -> Ram:
    """Return the whole model of averaged weights, with a published image encoder."""
    offsets = average["offsets"]
    model = Ram(lite2_config(len(offsets)))
    model.add_module("image_encoder", encoder)
    rows = {"label_embeddings": texts[: len(offsets)] + offsets}
    state = {name: value for name, value in average.items() if name != "offsets"}
    encoded = {f"image_encoder.{name}": value for name, value in encoder.state_dict().items()}
    model.load_state_dict(state | rows | encoded)
    return model.eval()


@torch.inference_mode()
def predict(model: Ram, features: Features, rows: np.ndarray) -> np.ndarray:
    """Return scores [rows, C] of whole photos."""
    parts = np.array_split(rows, max(1, len(rows) // 50))
    return (
        torch.cat([decode(model, features.batch(part)) for part in parts]).float().sigmoid().numpy()
    )


def label_texts(text: Path, names: tuple[str, ...], others: list[str]) -> Tensor:
    """Return the label embeddings [C + L, E] of tags and further words."""
    return embed(text, [*names, *others])


def main(
    data: Path, wheels: Path, cache: Path, vocabulary: Path, text: Path, run: Path, minutes: float
) -> None:
    """Train, with a look at tar 9 at each save."""
    run.mkdir(parents=True, exist_ok=True)
    words, features = load_words(data, vocabulary), Features(cache)
    with np.load(cache / "targets.npz") as kept:
        soft, others, by_captions = kept["soft"], kept["others"].tolist(), kept["by_captions"]
    texts = label_texts(text, words.names, others)
    lesson = Lesson(features, soft, by_captions)
    training = Run(lite2_config(len(words.names)), texts, lesson, minutes * 60)
    said = features.said(words.forms)[features.threshold_rows].astype(np.float32)
    if not (run / "checkpoint.pt").exists():
        training.begin(wheels, words.class_tags)
        print("start", round(mean_ap(said, predict_average(training, features), minimum=5), 4))
    training.resume(run)
    while training.trained_s < training.total_s:
        line = training.train_steps()
        if training.step % (4 * STEPS_PER_LINE) == 0:
            training.save(run)
            scores = predict_average(training, features)
            line["tar_9_map"] = round(mean_ap(said, scores, minimum=5), 4)
        print(json.dumps(line), flush=True)
    training.save(run)


@torch.inference_mode()
def predict_average(training: Run, features: Features) -> np.ndarray:
    """Return scores of tar 9 by the averaged weights, mirrored views left out."""
    model = training.averaged()
    rows = training.texts[: training.lesson.num_tags] + training.average["offsets"]
    parts = np.array_split(features.threshold_rows, 10)
    return torch.cat([score(model, features.batch(p), rows) for p in parts]).numpy()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--wheels", "--cache", "--vocabulary", "--text", "--run"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=3.3)
    a = parser.parse_args()
    main(a.data, a.wheels, a.cache, a.vocabulary, a.text, a.run, a.minutes)

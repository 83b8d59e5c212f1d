"""Train ram-mini: a small RAM that learns from captions and from SqueezeNet.

    python -m jobs.prepare_ram_mini --data ../shared/data --cache runs/cache
    python -m jobs.train_ram_mini --cache runs/cache --run runs/mini --minutes 45
    python -m jobs.package_ram_mini --data ../shared/data --cache runs/cache --run runs/mini \
        --folder model/ram_model/weights/ram-mini

`--from FOLDER` begins with the weights of a model folder, whose tags may be others.
The learning rate follows the training time, so that a run ends when it should on a busy machine.
Run again to go on after an interruption (a checkpoint per epoch). `log.jsonl` in the run folder
holds losses and the held-out mAP.

Flickr8k tars 0-8 give photos and captions; tar 9 and the ImageNet sample give photos only (tar 9's
captions set the thresholds); tars 10 and 11 are held out for the figures of the model card.
"""

import argparse
import json
import math
import os
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.prepare_ram_mini import TagLine, caption_words, has_fast_bfloat16, read_tags
from ram_model import Ram, RamConfig, asymmetric_loss, load_folder, variant

BATCH_SIZE = 64
PEAK_LR = 5e-4
WEIGHT_DECAY = 0.05
WARM_UP_STEPS = 100
EMA_DECAY = 0.998
CAPTION_TARS, THRESHOLD_TAR, TEST_TARS = range(9), 9, (10, 11)
PROBE_FOLDS = 5
ASL_GAMMA = 4.0
LOSS_WEIGHTS = {"cells": 10.0, "pooled": 10.0, "soft": 1.0, "head": 0.5, "caption": 0.3}
BUSY_LOAD = 2.6  # load average from which one thread is faster than two (2 cores)
MEAN_RGB, STD_RGB = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)  # RAM's preprocessing


def main(cache: Path, run: Path, minutes: float, start: Path | None = None) -> None:
    """Train for `minutes` and keep the averaged weights in `run`/checkpoint.pt.

    Args:
        start: model folder whose weights the run begins with; None: random ones.
    """
    run.mkdir(parents=True, exist_ok=True)
    data = Data(cache)
    teacher = Teacher(data)
    torch.manual_seed(0)
    student = Student(mini_config(len(data.tags)), data.targets[data.has_captions].mean(0))
    if start is not None:
        loaded = load_folder(start)
        assert isinstance(loaded.model, Ram)
        student.ram = widened(loaded.model, loaded.vocabulary.names, read_tags())
    trainer = Trainer(student, data, teacher, total_s=minutes * 60)
    trainer.resume(run)
    while trainer.trained_s < trainer.total_s:
        line = trainer.run_epoch()
        trainer.save(run)
        if trainer.epoch % 4 == 0 or trainer.trained_s >= trainer.total_s:
            scores = predict(average_model(student, trainer.average), data, data.test_rows)
            line["heldout_map"] = round(mean_ap(data.targets[data.test_rows], scores), 4)
        with (run / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        print(line, flush=True)


class Trainer:
    """Optimizer, averaged weights and position of a run."""

    def __init__(self, student: "Student", data: "Data", teacher: "Teacher", *, total_s: float):
        self.student, self.data, self.teacher, self.total_s = student, data, teacher, total_s
        self.optimizer = make_optimizer(student)
        self.average = {k: v.clone() for k, v in student.ram.state_dict().items()}
        self.epoch, self.step, self.trained_s = 0, 0, 0.0

    def run_epoch(self) -> dict:
        """Visit every training photo once, or stop when time is up; return the mean losses."""
        order = np.random.default_rng(self.epoch).permutation(self.data.train_rows)
        torch.manual_seed(1000 + self.epoch)
        batches = np.array_split(order, len(order) // BATCH_SIZE)
        totals: dict[str, float] = {}
        count = 0
        for rows in batches:
            started = time.monotonic()
            # two threads that wait for each other crawl on a busy machine
            torch.set_num_threads(1 if os.getloadavg()[0] > BUSY_LOAD else 2)
            set_learning_rate(self.optimizer, self.step, self.trained_s / self.total_s)
            parts = train_step(self.student, self.optimizer, self.teacher, self.data, rows)
            self.update_average()
            totals = {name: totals.get(name, 0.0) + value for name, value in parts.items()}
            self.step += 1
            count += 1
            self.trained_s += time.monotonic() - started
            if self.trained_s >= self.total_s:
                break
        self.epoch += 1
        line = {"epoch": self.epoch, "step": self.step, "trained_s": round(self.trained_s)}
        return line | {name: round(value / count, 4) for name, value in totals.items()}

    def update_average(self) -> None:
        """Move the averaged weights towards the present ones."""
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        for name, value in self.student.ram.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)

    def save(self, run: Path) -> None:
        """Write checkpoint.pt whole or not at all."""
        state = {
            "student": self.student.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "position": [self.epoch, self.step, self.trained_s],
        }
        torch.save(state, run / "checkpoint.tmp")
        (run / "checkpoint.tmp").replace(run / "checkpoint.pt")

    def resume(self, run: Path) -> None:
        """Go on from checkpoint.pt if there is one."""
        if not (run / "checkpoint.pt").exists():
            return
        state = torch.load(run / "checkpoint.pt", weights_only=True)
        self.student.load_state_dict(state["student"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.epoch, self.step, self.trained_s = state["position"]


class Data:
    """The cache of prepare_ram_mini.py: pixels, teacher maps, caption targets, and the split."""

    def __init__(self, cache: Path) -> None:
        photos = json.loads((cache / "photos.json").read_text())
        self.pixels_160 = np.load(cache / "pixels_160.npy")
        self.pixels_128 = np.load(cache / "pixels_128.npy", mmap_mode="r")
        self.teacher_map = np.load(cache / "teacher_map.npy")
        vocabulary = read_tags()
        self.tags = [tag.name for tag in vocabulary]
        self.words = [caption_words(photo["captions"] or []) for photo in photos]
        rows = [[bool(tag.forms & words) for tag in vocabulary] for words in self.words]
        self.targets = np.array(rows, dtype=np.float32)
        self.tar = np.array([photo["tar"] for photo in photos])
        self.test_rows = np.flatnonzero(np.isin(self.tar, TEST_TARS))
        self.threshold_rows = np.flatnonzero(self.tar == THRESHOLD_TAR)
        self.train_rows = np.flatnonzero(~np.isin(self.tar, TEST_TARS))
        self.has_captions = np.isin(self.tar, CAPTION_TARS)


class Teacher:
    """What the student should see in a crop: SqueezeNet's features and a tag probe on them."""

    def __init__(self, data: Data) -> None:
        self.map = data.teacher_map
        pooled = np.stack([np.sqrt(m.astype(np.float32)).mean((1, 2)) for m in self.map])
        cells = np.sqrt(self.map[data.train_rows[::20]].astype(np.float32))
        self.mean = torch.from_numpy(cells.mean((0, 2, 3)))
        self.std = torch.from_numpy(cells.std((0, 2, 3)) + 1e-3)
        centred = (torch.from_numpy(pooled) - self.mean) / self.std
        self.pooled_std = centred[data.train_rows].std(0) + 1e-3
        features = centred / self.pooled_std
        # photos of fold k get soft tags from a probe that never saw their captions; the last
        # probe saw all of tars 0-8 and serves the photos without captions
        self.fold = np.where(data.has_captions, data.tar % PROBE_FOLDS, PROBE_FOLDS)
        targets = torch.from_numpy(data.targets)
        self.weights, self.biases = [], []
        for fold in range(PROBE_FOLDS + 1):
            rows = np.flatnonzero(data.has_captions & (self.fold != fold))
            weight, bias = fit_probe(features[rows], targets[rows])
            self.weights.append(weight)
            self.biases.append(bias)
        rows = data.test_rows
        scores = (features[rows] @ self.weights[-1] + self.biases[-1]).numpy()
        print("teacher probe, held-out mAP", round(mean_ap(data.targets[rows], scores), 4))

    def crop(self, rows: np.ndarray, theta: Tensor) -> tuple[Tensor, Tensor]:
        """Return standardised features [B, 16, 512] of the crops and soft tags [B, C]."""
        maps = torch.from_numpy(self.map[rows]).float().sqrt()
        grid = F.affine_grid(theta, [len(rows), 512, 8, 8], align_corners=False)
        cells = F.grid_sample(maps, grid, padding_mode="border", align_corners=False)
        cells = F.avg_pool2d(cells, 2).flatten(2).transpose(1, 2)
        cells = (cells - self.mean) / self.std
        pooled = cells.mean(1) / self.pooled_std
        folds = self.fold[rows]
        soft = torch.empty(len(rows), self.biases[0].numel())
        for fold in np.unique(folds):
            chosen = torch.from_numpy(np.flatnonzero(folds == fold))
            soft[chosen] = (pooled[chosen] @ self.weights[fold] + self.biases[fold]).sigmoid()
        return cells, soft


def fit_probe(features: Tensor, targets: Tensor, penalty: float = 0.01) -> tuple[Tensor, Tensor]:
    """Return weight and bias of one logistic regression per tag (penalty: best of 4 tried)."""
    prior = targets.mean(0).clamp(1e-4, 1 - 1e-4)
    weight = torch.zeros(features.shape[1], targets.shape[1], requires_grad=True)
    bias = torch.logit(prior).requires_grad_(True)
    optimizer = torch.optim.Adam([weight, bias], lr=0.02)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, 200)
    for _ in range(200):
        logits = features @ weight + bias
        loss = F.binary_cross_entropy_with_logits(logits, targets, reduction="sum")
        loss = loss / len(features) + penalty * weight.square().sum()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
    return weight.detach(), bias.detach()


class Student(nn.Module):
    """RAM and the linear tag head that helps its image encoder in training only."""

    def __init__(self, config: RamConfig, prior: np.ndarray) -> None:
        super().__init__()
        self.ram = Ram(config)
        self.tag_head = nn.Linear(config.image_encoder.width, config.num_tags)
        start = torch.logit(torch.from_numpy(prior).clamp(1e-4, 1 - 1e-4))
        with torch.no_grad():
            self.tag_head.bias.copy_(start)
            self.ram.classifier.bias.fill_(start.mean())

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return projected tokens [B, 17, 512], logits [B, C], logits of the head [B, C]."""
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
            encoded = self.ram.image_encoder(images)
            tokens = self.ram.image_projection(encoded)
            logits = self.ram.decode_tags(tokens, self.ram.label_queries())
            return tokens.float(), logits.float(), self.tag_head(encoded[:, 0]).float()


def mini_config(num_tags: int) -> RamConfig:
    """Return variant "mini" for this vocabulary; the tag decoder is too narrow for dropout."""
    config = variant("mini", num_tags=num_tags)
    return replace(config, tag_decoder=replace(config.tag_decoder, dropout=0.0))


def widened(old: Ram, old_names: tuple[str, ...], tags: list[TagLine]) -> Ram:
    """Return a model of `tags` with the old weights; a new tag's label embedding is random."""
    torch.manual_seed(0)
    model = Ram(replace(old.config, num_tags=len(tags)))
    state = old.state_dict()
    rows = model.label_embeddings.detach().clone()
    for row, tag in enumerate(tags):
        if tag.name in old_names:
            rows[row] = state["label_embeddings"][old_names.index(tag.name)]
        else:  # of the length of the learned ones
            rows[row] *= state["label_embeddings"].norm(dim=1).mean()
    model.load_state_dict(state | {"label_embeddings": rows})
    return model


def train_step(
    student: Student,
    optimizer: torch.optim.Optimizer,
    teacher: Teacher,
    data: Data,
    rows: np.ndarray,
) -> dict[str, float]:
    """Take one optimizer step; return the parts of the loss."""
    theta = random_crops(len(rows))
    images = augment(torch.from_numpy(data.pixels_160[rows]), theta)
    cells, soft = teacher.crop(rows, theta)
    targets = torch.from_numpy(data.targets[rows])
    captioned = torch.from_numpy(np.flatnonzero(data.has_captions[rows]))
    student.train()
    tokens, logits, head_logits = student(images)
    pooled_error = (tokens[:, 0] - cells.mean(1)) / teacher.pooled_std
    losses = {
        "cells": F.mse_loss(tokens[:, 1:], cells),
        "pooled": pooled_error.square().mean(),
        "soft": tag_distillation(logits, soft),
        "head": tag_distillation(head_logits, soft),
        "caption": asymmetric_loss(logits[captioned], targets[captioned], gamma_neg=ASL_GAMMA)
        / len(rows),
    }
    loss = sum(LOSS_WEIGHTS[name] * value for name, value in losses.items())
    assert isinstance(loss, Tensor)
    if not torch.isfinite(loss):
        raise RuntimeError("The loss is not finite; start again with a lower PEAK_LR.")
    optimizer.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(student.parameters(), 5.0)
    optimizer.step()
    return {name: value.item() for name, value in losses.items()}


def tag_distillation(logits: Tensor, soft: Tensor) -> Tensor:
    """Return the cross entropy to the teacher's tag probabilities, summed over tags."""
    loss = F.binary_cross_entropy_with_logits(logits, soft, reduction="sum")
    return loss / len(soft)


def random_crops(count: int) -> Tensor:
    """Return affine maps [B, 2, 3]: area 0.25-1 of the photo, aspect 3/4-4/3, half mirrored."""
    side = torch.empty(count).uniform_(0.25, 1.0).sqrt()
    aspect = torch.empty(count).uniform_(math.log(0.75), math.log(4 / 3)).exp().sqrt()
    width, height = (side * aspect).clamp(max=1), (side / aspect).clamp(max=1)
    x = (torch.rand(count) * 2 - 1) * (1 - width)
    y = (torch.rand(count) * 2 - 1) * (1 - height)
    mirror = torch.where(torch.rand(count) < 0.5, -1.0, 1.0)
    zero = torch.zeros(count)
    return torch.stack([width * mirror, zero, x, zero, height, y], 1).view(count, 2, 3)


def augment(pixels: Tensor, theta: Tensor) -> Tensor:
    """Return normalised crops [B, 3, 128, 128] of uint8 [B, S, S, 3], colours jittered."""
    count = len(pixels)
    images = pixels.permute(0, 3, 1, 2).float() / 255
    grid = F.affine_grid(theta, [count, 3, 128, 128], align_corners=False)
    images = F.grid_sample(images, grid, padding_mode="border", align_corners=False)
    brightness, contrast, saturation = torch.empty(3, count, 1, 1, 1).uniform_(0.7, 1.3)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * saturation + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return normalise(((images - mean) * contrast + mean * brightness).clamp(0, 1))


def normalise(images: Tensor) -> Tensor:
    """Return images of 0..1 with RAM's statistics taken out."""
    mean, std = torch.tensor(MEAN_RGB), torch.tensor(STD_RGB)
    return (images - mean.view(3, 1, 1)) / std.view(3, 1, 1)


def make_optimizer(student: Student) -> torch.optim.Optimizer:
    """Return AdamW; vectors, tables of position biases and label embeddings do not decay."""
    decayed, kept = [], []
    for name, parameter in student.named_parameters():
        free = parameter.ndim < 2 or "bias_table" in name or "label_embeddings" in name
        (kept if free else decayed).append(parameter)
    groups = [{"params": decayed}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_LR, weight_decay=WEIGHT_DECAY)


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, part: float) -> None:
    """Warm up over the first steps, then follow half a cosine over the training time."""
    rate = PEAK_LR * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(part, 1.0))))
    for group in optimizer.param_groups:
        group["lr"] = rate * min(1.0, (step + 1) / WARM_UP_STEPS)


def average_model(student: Student, average: dict[str, Tensor]) -> Ram:
    """Return the model with the averaged weights, for evaluation."""
    model = Ram(student.ram.config)
    model.load_state_dict(average)
    return model.eval()


@torch.inference_mode()
def predict(model: Ram, data: Data, rows: np.ndarray) -> np.ndarray:
    """Return scores [N, C] of whole photos in float32."""
    scores = []
    for start in range(0, len(rows), 100):
        pixels = torch.from_numpy(data.pixels_128[rows[start : start + 100]])
        scores.append(model(normalise(pixels.permute(0, 3, 1, 2) / 255)).sigmoid())
    return torch.cat(scores).numpy()


def average_precision(truth: np.ndarray, scores: np.ndarray) -> float:
    """Return the mean precision at the positives, best score first."""
    ranked = truth[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(ranked) / np.arange(1, len(ranked) + 1)
    return float((precision * ranked).sum() / ranked.sum())


def mean_ap(truth: np.ndarray, scores: np.ndarray, minimum: int = 10) -> float:
    """Return the mean average precision over tags with at least `minimum` positives."""
    columns = np.flatnonzero(truth.sum(0) >= minimum)
    return float(np.mean([average_precision(truth[:, c], scores[:, c]) for c in columns]))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--from", type=Path, dest="start", help="model folder to begin with")
    arguments = parser.parse_args()
    main(arguments.cache, arguments.run, arguments.minutes, arguments.start)

"""Train ram-mini: a small RAM that learns from captions and from SqueezeNet.

    python -m research.ram_mini.prepare --data ../shared/data --cache runs/cache
    python -m research.ram_mini.train --cache runs/cache --run runs/mini --minutes 45
    python -m research.ram_mini.package --data ../shared/data --cache runs/cache --run runs/mini \
        --folder model/ram_model/weights/ram-mini

`--from FOLDER` begins with the weights of a model folder, whose tags may be others; label queries
that are text (as of what ships) are learned from here on, and research.ram_mini.open makes them
text again. `--without` leaves teachers out, for ablations. Minutes are CPU time of one thread: the
learning rate follows them, so that a run is the same on a busy machine. `--compile` makes a step a
quarter faster after 3 minutes of compilation; MALLOC_MMAP_THRESHOLD_=2000000000 and
MALLOC_TRIM_THRESHOLD_=8000000000 in the environment another tenth, because memory is then not given
back between steps.
Run again to go on after an interruption (a checkpoint per epoch). `log.jsonl` in the run folder
holds losses and the mAP on tar 9.

Flickr8k tars 0-8 give photos and captions; tar 9 and the ImageNet sample give photos only (tar 9's
captions set the thresholds); tars 10 and 11 are held out for the figures of the model card.
"""

import argparse
import json
import math
import time
from collections.abc import Collection
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from ram_model import asymmetric_loss
from research.ram_mini.data import Data, mean_ap
from research.ram_mini.student import Student, begin_from, mini_config, teacher_losses
from research.ram_mini.teacher import Teacher
from research.ram_mini.views import augment, normalise, paste, random_boxes, random_crops

BATCH_SIZE = 64
TAGS_PER_STEP = (
    64  # a random part of the tags goes through the decoder: labels never see each other
)
PEAK_LR = 7e-4
WEIGHT_DECAY = 0.05
WARM_UP_STEPS = 100
EMA_DECAY = 0.998
NUMBERS_PER_SEED = 1_000_000  # more than a run has steps
ASL_GAMMA = 4.0
LOSS_WEIGHTS = {
    "cells": 10.0,
    "pooled": 10.0,
    "classes": 1.0,
    "soft": 1.0,
    "head": 0.5,
    "caption": 0.3,
}
TEACHERS = {"features": ("cells", "pooled"), "classes": ("classes",), "probe": ("soft", "head")}


def main(
    cache: Path,
    run: Path,
    minutes: float,
    start: Path | None = None,
    *,
    without: Collection[str] = (),
    compiled: bool = False,
) -> None:
    """Train for `minutes` and keep the averaged weights in `run`/checkpoint.pt.

    Args:
        start: model folder whose weights the run begins with; None: random ones.
        without: names of `TEACHERS` that are left out.
    """
    torch.set_num_threads(1)
    run.mkdir(parents=True, exist_ok=True)
    data = Data(cache)
    teacher = Teacher(data, cache)
    torch.manual_seed(0)
    student = Student(mini_config(len(data.tags)), data.targets[data.has_captions].mean(0))
    if start is not None:
        student.ram = begin_from(start)
    if compiled:
        student.ram.image_encoder.compile()
    trainer = Trainer(student, data, teacher, total_s=minutes * 60, without=without)
    trainer.resume(run)
    while trainer.trained_s < trainer.total_s:
        line = trainer.run_epoch()
        trainer.save(run)
        if trainer.epoch % 4 == 0 or trainer.trained_s >= trainer.total_s:
            line |= trainer.evaluate(data.threshold_rows)
        with (run / "log.jsonl").open("a") as log:
            log.write(json.dumps(line) + "\n")
        print(line, flush=True)


class Trainer:
    """Optimizer, averaged weights and position of a run."""

    def __init__(
        self,
        student: Student,
        data: Data,
        teacher: Teacher,
        *,
        total_s: float,
        without: Collection[str] = (),
        seed: int = 0,
    ) -> None:
        self.student, self.data, self.teacher, self.total_s = student, data, teacher, total_s
        self.first_number = seed * NUMBERS_PER_SEED
        left_out = [loss for name in without for loss in TEACHERS[name]]
        self.loss_weights = {k: v for k, v in LOSS_WEIGHTS.items() if k not in left_out}
        self.has_teacher = set(self.loss_weights) != {"caption"}
        # without a teacher nothing is to be learned from photos without captions
        taught = data.has_captions | self.has_teacher
        self.train_rows = data.train_rows[taught[data.train_rows]]
        if len(self.train_rows) < BATCH_SIZE:
            count = len(self.train_rows)
            raise ValueError(f"There are {count} training photos, but a step takes {BATCH_SIZE}.")
        self.optimizer = make_optimizer(student)
        self.average = {k: v.clone() for k, v in student.state_dict().items()}
        self.epoch, self.step, self.trained_s = 0, 0, 0.0

    def run_epoch(self) -> dict:
        """Visit every training photo once, or stop when time is up; return the mean losses.

        Photos without captions are left out where no teacher speaks about them.
        """
        first = self.first_number + self.epoch
        order = np.random.default_rng(first).permutation(self.train_rows)
        torch.manual_seed(1000 + first)
        # whole batches only: a compiled encoder wants one shape
        batches = order[: len(order) // BATCH_SIZE * BATCH_SIZE].reshape(-1, BATCH_SIZE)
        totals: dict[str, float] = {}
        count = 0
        for rows in batches:
            started = time.process_time()
            set_learning_rate(self.optimizer, self.step, self.trained_s / self.total_s)
            parts = self.train_step(rows)
            self.update_average()
            totals = {name: totals.get(name, 0.0) + value for name, value in parts.items()}
            self.step += 1
            count += 1
            self.trained_s += time.process_time() - started
            if self.trained_s >= self.total_s:
                break
        self.epoch += 1
        line = {"epoch": self.epoch, "step": self.step, "trained_s": round(self.trained_s)}
        return line | {name: round(value / count, 4) for name, value in totals.items()}

    def train_step(self, rows: np.ndarray) -> dict[str, float]:
        """Take one optimizer step; return the parts of the loss."""
        data, random = self.data, np.random.default_rng(self.first_number + self.step)
        crops = random_crops(len(rows))
        taken = torch.from_numpy(random_boxes(random, len(rows)))
        if not self.has_teacher:
            taken[:] = False  # captions do not say what is in a part of a photo
        images = paste(augment(torch.from_numpy(data.pixels_160[rows]), crops), taken)
        columns = torch.from_numpy(random.permutation(len(data.tags))[:TAGS_PER_STEP])
        taught = self.student.train()(images, columns)
        losses: dict[str, Tensor] = {}
        if self.has_teacher:
            lesson = self.teacher.view(rows, crops, taken)
            losses = teacher_losses(taught, lesson, columns, self.teacher)
        told = torch.from_numpy(data.has_captions[rows]) & ~taken.any(1)
        truth = torch.from_numpy(data.targets[rows])[told][:, columns]
        caption = asymmetric_loss(taught.logits[told], truth, gamma_neg=ASL_GAMMA)
        losses["caption"] = caption * (len(data.tags) / len(columns) / len(rows))
        loss = sum(weight * losses[name] for name, weight in self.loss_weights.items())
        assert isinstance(loss, Tensor)
        if not torch.isfinite(loss):
            raise RuntimeError("The loss is not finite; start again with a lower PEAK_LR.")
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.student.parameters(), 5.0)
        self.optimizer.step()
        return {name: value.item() for name, value in losses.items()}

    def update_average(self) -> None:
        """Move the averaged weights towards the present ones."""
        decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
        for name, value in self.student.state_dict().items():
            self.average[name].lerp_(value, 1 - decay)

    def evaluate(self, rows: np.ndarray) -> dict[str, float]:
        """Return the mAP of the averaged weights, by the tag decoder and by the linear head."""
        student = Student(self.student.ram.config, np.full(len(self.data.tags), 0.5))
        student.load_state_dict(self.average)
        scores = predict(student.eval(), self.data, rows)
        truth = self.data.targets[rows]
        names = ("tar_9_map", "tar_9_map_head")
        return {name: round(mean_ap(truth, s), 4) for name, s in zip(names, scores, strict=True)}

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


def make_optimizer(student: Student) -> torch.optim.Optimizer:
    """Return AdamW; vectors, tables of position biases and label embeddings do not decay."""
    decayed, kept = [], []
    for name, parameter in student.named_parameters():
        free = parameter.ndim < 2 or "bias_table" in name or "label_embeddings" in name
        (kept if free else decayed).append(parameter)
    groups = [{"params": decayed}, {"params": kept, "weight_decay": 0.0}]
    return torch.optim.AdamW(groups, lr=PEAK_LR, weight_decay=WEIGHT_DECAY, fused=True)


def set_learning_rate(optimizer: torch.optim.Optimizer, step: int, part: float) -> None:
    """Warm up over the first steps, then follow half a cosine over the training time."""
    rate = PEAK_LR * (0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(part, 1.0))))
    for group in optimizer.param_groups:
        # over after a tenth of the time at the latest
        group["lr"] = rate * min(1.0, max((step + 1) / WARM_UP_STEPS, 10 * part))


@torch.inference_mode()
def predict(student: Student, data: Data, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return scores [N, C] of whole photos, by the decoder and by the head."""
    parts = []
    for start in range(0, len(rows), BATCH_SIZE):
        pixels = torch.from_numpy(data.pixels_128[rows[start : start + BATCH_SIZE]])
        taught = student(normalise(pixels.permute(0, 3, 1, 2) / 255))
        parts.append((taught.logits.sigmoid(), taught.head_logits.sigmoid()))
    decoder, head = (torch.cat(part).numpy() for part in zip(*parts, strict=True))
    return decoder, head


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cache", type=Path, required=True)
    parser.add_argument("--run", type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=45)
    parser.add_argument("--from", type=Path, dest="start", help="model folder to begin with")
    parser.add_argument("--without", nargs="*", choices=TEACHERS, default=(), help="teachers")
    parser.add_argument("--compile", action="store_true", dest="compiled")
    a = parser.parse_args()
    main(a.cache, a.run, a.minutes, a.start, without=a.without, compiled=a.compiled)

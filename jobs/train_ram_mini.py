"""Train ram-mini: a small RAM that learns from captions and from SqueezeNet.

    python -m jobs.prepare_ram_mini --data ../shared/data --cache runs/cache
    python -m jobs.train_ram_mini --cache runs/cache --run runs/mini --minutes 45
    python -m jobs.package_ram_mini --data ../shared/data --cache runs/cache --run runs/mini \
        --folder model/ram_model/weights/ram-mini

`--from FOLDER` begins with the weights of a model folder, whose tags may be others; label queries
that are text (as of what ships) are learned from here on, and jobs.open_ram_mini makes them text
again. `--without` leaves teachers out, for ablations. Minutes are CPU time of one thread: the
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
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from jobs.prepare_ram_mini import (
    HELD_OUT_TARS,
    TagLine,
    caption_words,
    has_fast_bfloat16,
    read_tags,
)
from jobs.ram_mini_teacher import Lesson, Teacher
from jobs.ram_mini_views import augment, normalise, paste, random_boxes, random_crops
from ram_model import Ram, RamConfig, asymmetric_loss, load_folder, variant
from ram_model.config import OPEN_SET_THRESHOLD

BATCH_SIZE = 64
TAGS_PER_STEP = (
    64  # a random part of the tags goes through the decoder: labels never see each other
)
PEAK_LR = 7e-4
WEIGHT_DECAY = 0.05
WARM_UP_STEPS = 100
EMA_DECAY = 0.998
NUMBERS_PER_SEED = 1_000_000  # more than a run has steps
CAPTION_TARS, THRESHOLD_TAR, TEST_TARS = range(9), 9, HELD_OUT_TARS
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
        student: "Student",
        data: "Data",
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

    def forward(self, images: Tensor, columns: Tensor | None = None) -> "Taught":
        """Return what it makes of images [B, 3, 128, 128]; logits of all tags or some columns."""
        with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
            encoded = self.ram.image_encoder(images)
            tokens = self.ram.image_projection(encoded)
            queries = self.ram.label_queries()
            queries = queries if columns is None else queries[:, columns]
            logits = self.ram.decode_tags(tokens, queries)
            head_logits = self.tag_head(encoded[:, 0])
        return Taught(tokens.float(), logits.float(), head_logits.float())


class Taught(NamedTuple):
    """What the student makes of a batch."""

    tokens: Tensor
    """Projected, [B, 17, 512]: the mean token, then the cells."""
    logits: Tensor
    """Of the tag decoder, [B, columns]."""
    head_logits: Tensor
    """Of the linear head, [B, C]."""


def teacher_losses(
    taught: Taught, lesson: Lesson, columns: Tensor, teacher: Teacher
) -> dict[str, Tensor]:
    """Return how far the student is from each thing that the teacher says."""
    cells = taught.tokens[:, 1:]
    pooled_error = (taught.tokens[:, 0] - lesson.cells.mean(1)) / teacher.pooled_std
    with torch.autocast("cpu", torch.bfloat16, enabled=has_fast_bfloat16()):
        classes = teacher.class_logits(cells).float().log_softmax(1)
        wanted = teacher.class_logits(lesson.cells).float().softmax(1)
    soft = lesson.soft[:, columns]
    return {
        "cells": F.mse_loss(cells, lesson.cells),
        "pooled": pooled_error.square().mean(),
        "classes": F.kl_div(classes, wanted, reduction="batchmean"),
        "soft": tag_distillation(taught.logits, soft) * (lesson.soft.shape[1] / len(columns)),
        "head": tag_distillation(taught.head_logits, lesson.soft),
    }


def mini_config(num_tags: int, embed_dim: int | None = None) -> RamConfig:
    """Return variant "mini" for this vocabulary; the tag decoder is too narrow for dropout.

    Args:
        embed_dim: another width of the image encoder's first stage.
    """
    config = variant("mini", num_tags=num_tags)
    if embed_dim is not None:
        encoder = replace(config.image_encoder, embed_dim=embed_dim)
        config = replace(config, image_encoder=encoder)
    return replace(config, tag_decoder=replace(config.tag_decoder, dropout=0.0))


def begin_from(folder: Path) -> Ram:
    """Return the model of a folder, with the tags of the vocabulary file."""
    loaded = load_folder(folder)
    assert isinstance(loaded.model, Ram)
    if not loaded.config.train_labels:
        print(
            f"{folder} has label queries made of text: they are learned from here on. Run "
            "jobs.open_ram_mini on the result, so that it takes new words again."
        )
    return widened(loaded.model, loaded.vocabulary.names, read_tags())


def widened(old: Ram, old_names: tuple[str, ...], tags: list[TagLine]) -> Ram:
    """Return a model of `tags` with the old weights; a new tag's label embedding is random.

    The label embeddings are learned, whether or not they were before; no captions.
    """
    torch.manual_seed(0)
    config = replace(old.config, num_tags=len(tags), train_labels=True, captions=None)
    model = Ram(replace(config, open_set_threshold=OPEN_SET_THRESHOLD))
    state = old.state_dict()
    rows = model.label_embeddings.detach().clone()
    for row, tag in enumerate(tags):
        if tag.name in old_names:
            rows[row] = state["label_embeddings"][old_names.index(tag.name)]
        else:  # of the length of the learned ones
            rows[row] *= state["label_embeddings"].norm(dim=1).mean()
    kept = {name: value for name, value in state.items() if not name.startswith("caption_head.")}
    model.load_state_dict(kept | {"label_embeddings": rows})
    return model


def tag_distillation(logits: Tensor, soft: Tensor) -> Tensor:
    """Return the cross entropy to the teacher's tag probabilities, summed over tags."""
    loss = F.binary_cross_entropy_with_logits(logits, soft, reduction="sum")
    return loss / len(soft)


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
    parser.add_argument("--without", nargs="*", choices=TEACHERS, default=(), help="teachers")
    parser.add_argument("--compile", action="store_true", dest="compiled")
    a = parser.parse_args()
    main(a.cache, a.run, a.minutes, a.start, without=a.without, compiled=a.compiled)

"""Teach ram-mini more words: its image encoder stays, its tag decoder learns on cached tokens.

    python -m research.ram_mini.widen --data ../shared/data --cache runs/widen --minutes 6 \
        --folder model/ram_model/weights/ram-mini

Steps: encode every photo and its mirror image once; fit a linear probe of all tags on the pooled
tokens; train the decoder to agree with probe and captions on tokens mixed from two photos. A step
costs a tenth of one through the encoder, so that one CPU core suffices. Minutes are CPU time. Run
again to go on after an interruption. Tags new in `ram_mini_tags.txt` start from random label
embeddings, the others from the folder's. Split of the photos: as in `train_ram_mini`.
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

from ram_model import Ram, load_folder
from research.ram_mini.data import CAPTION_TARS, TEST_TARS, THRESHOLD_TAR, mean_ap
from research.ram_mini.package import package_model
from research.ram_mini.prepare import (
    TagLine,
    batches_of_photos,
    caption_words,
    list_photos,
    read_tags,
    stack,
)
from research.ram_mini.probe import Probe, Teacher, decode, fit_probe, pool
from research.ram_mini.student import begin_from
from research.ram_mini.views import normalise, random_boxes

BATCH_SIZE = 64
TAGS_PER_STEP = 128  # a random part of the tags each step: labels never see each other
PEAK_LR, LABEL_LR = 5e-4, 3e-3  # label embeddings have unit length, so they need longer steps
WEIGHT_DECAY = 0.05
WARM_UP_STEPS = 30
EMA_DECAY = 0.995
LOSS_WEIGHTS = {"teacher": 1.0, "caption": 0.3}
STEPS_PER_LINE = 50


def main(data_folder: Path, cache: Path, folder: Path, minutes: float, start: Path) -> dict:
    """Encode, probe, train, package; return the figures of the model card.

    Args:
        start: model folder whose weights the run begins with.
    """
    cache.mkdir(parents=True, exist_ok=True)
    tags = read_tags()
    old = load_folder(start)
    assert isinstance(old.model, Ram)
    encode_photos(old.model, data_folder, cache)
    data = Data(data_folder, cache, tags)
    probe = fit_probe(pool(data.tokens[data.train_rows, 0]), data.targets[data.train_rows])
    print("mAP of the probe on tar 9:", round(data.probe_map(probe), 4), flush=True)
    model = begin_from(start)
    run = Run(model, Teacher(probe, old.model, old.vocabulary.names, tags), data, minutes * 60)
    run.resume(cache)
    while run.trained_s < run.total_s:
        print(run.train_steps(), flush=True)
        run.save(cache)
    model.load_state_dict(run.average)
    return package_model(model, data, data.predict, data_folder, folder)


def encode_photos(model: Ram, data_folder: Path, cache: Path) -> None:
    """Write tokens_<tar>_<view>.npy, float16 [N, 16, 384], unless it is there; view 1 is mirrored.

    The mean token is left out: it follows from the others.
    """
    for view in (0, 1):
        for number, path in enumerate(flickr_tars(data_folder)):
            file = cache / f"tokens_{number}_{view}.npy"
            if file.exists() or (view == 1 and number in (THRESHOLD_TAR, *TEST_TARS)):
                continue
            tokens = np.concatenate([encode(model, b, view) for b in batches_of_photos(path)])
            np.save(cache / "partial.npy", tokens)
            (cache / "partial.npy").rename(file)
            print(f"encoded {file.name}", flush=True)


@torch.inference_mode()
def encode(model: Ram, images: list, view: int) -> np.ndarray:
    """Return float16 tokens [B, 16, 384] of whole photos."""
    pixels = torch.from_numpy(stack(images, model.config.image_size_px)).permute(0, 3, 1, 2)
    pixels = pixels.flip(3) if view else pixels
    batch = normalise(pixels.float() / 255).contiguous(memory_format=torch.channels_last)
    return model.eval().image_encoder(batch)[:, 1:].half().numpy()


def flickr_tars(data_folder: Path) -> list[Path]:
    """Return the twelve tars with captions, in order."""
    return sorted((data_folder / "flickr8k_train").glob("*.tar"))


class Data:
    """Tokens of the encoder, caption targets, and the split."""

    def __init__(self, data_folder: Path, cache: Path, tags: list[TagLine]) -> None:
        tars = flickr_tars(data_folder)
        photos = [p for number, path in enumerate(tars) for p in list_photos(number, path)]
        self.tags = [tag.name for tag in tags]
        self.words = [caption_words(photo["captions"]) for photo in photos]
        rows = [[bool(tag.forms & words) for tag in tags] for words in self.words]
        self.targets = np.array(rows, dtype=np.float32)
        tar = np.array([photo["tar"] for photo in photos])
        self.train_rows = np.flatnonzero(np.isin(tar, CAPTION_TARS))
        self.threshold_rows = np.flatnonzero(tar == THRESHOLD_TAR)
        self.test_rows = np.flatnonzero(np.isin(tar, TEST_TARS))
        views = []
        for view in (0, 1):
            files = [cache / f"tokens_{number}_{view}.npy" for number in range(len(tars))]
            # photos that are never trained on have no mirrored view
            files = [f if f.exists() else Path(str(f).replace("_1.npy", "_0.npy")) for f in files]
            views.append(np.concatenate([np.load(file) for file in files]))
        self.tokens = torch.from_numpy(np.stack(views, axis=1)).float()  # [N, 2, 16, 384]

    @torch.inference_mode()
    def predict(self, model: Ram, rows: np.ndarray) -> np.ndarray:
        """Return scores [N, C] of whole photos."""
        logits = [decode(model, part) for part in self.tokens[rows, 0].split(100)]
        return torch.cat(logits).sigmoid().numpy()

    def probe_map(self, probe: Probe) -> float:
        """Return the probe's mAP on the photos kept for thresholds."""
        scores = probe(pool(self.tokens[self.threshold_rows, 0])).numpy()
        return mean_ap(self.targets[self.threshold_rows], scores, minimum=5)


class Run:
    """Optimizer, averaged weights and position; the image encoder is never touched."""

    def __init__(self, model: Ram, teacher: Teacher, data: Data, total_s: float) -> None:
        self.model, self.teacher, self.data, self.total_s = model.train(), teacher, data, total_s
        model.image_encoder.requires_grad_(False)
        trained = [p for n, p in model.named_parameters() if not n.startswith("image_encoder.")]
        rest = [p for p in trained if p is not model.label_embeddings]
        self.optimizer = torch.optim.AdamW(
            [
                {"params": rest, "lr": PEAK_LR, "peak": PEAK_LR},
                {"params": [model.label_embeddings], "lr": LABEL_LR, "peak": LABEL_LR}
                | {"weight_decay": 0.0},
            ],
            weight_decay=WEIGHT_DECAY,
        )
        self.average = {k: v.clone() for k, v in model.state_dict().items()}
        self.step, self.trained_s = 0, 0.0

    def train_steps(self) -> dict:
        """Take some steps; return the mean losses and the mAP on tar 9."""
        started, totals = time.process_time(), torch.zeros(2)
        for _ in range(STEPS_PER_LINE):
            passed = self.trained_s + time.process_time() - started
            self.set_learning_rate(passed / self.total_s)
            totals += self.train_step(np.random.default_rng(self.step))
            self.step += 1
            decay = min(EMA_DECAY, (1 + self.step) / (10 + self.step))
            for name, value in self.model.state_dict().items():
                self.average[name].lerp_(value, 1 - decay)
        self.trained_s += time.process_time() - started
        teacher, caption = (totals / STEPS_PER_LINE).tolist()
        line = {"step": self.step, "cpu_s": round(self.trained_s), "teacher": teacher}
        return line | {"caption": caption, "tar_9_map": round(self.heldout_map(), 4)}

    def train_step(self, random: np.random.Generator) -> Tensor:
        """Take one step on photos mixed in pairs; return the two losses, each summed over tags."""
        rows = random.choice(self.data.train_rows, (2, BATCH_SIZE))
        views = random.integers(0, 2, (2, BATCH_SIZE))
        first, second = self.data.tokens[rows, views]
        taken = torch.from_numpy(random_boxes(random, BATCH_SIZE))  # [B, 16], from the second
        tokens = torch.where(taken[:, :, None], second, first)
        share = taken.float().mean(1, keepdim=True)
        count = len(self.data.tags)
        columns = torch.from_numpy(random.permutation(count)[:TAGS_PER_STEP])
        truth = torch.from_numpy(self.data.targets[rows])[:, :, columns]
        logits = decode(self.model, tokens, columns)
        soft = self.teacher(tokens, columns).sigmoid()
        hard = truth[0] * (1 - share) + truth[1] * share
        scale = count / len(columns) / BATCH_SIZE
        entropy = F.binary_cross_entropy_with_logits
        losses = torch.stack([entropy(logits, t, reduction="sum") * scale for t in (soft, hard)])
        loss = losses @ torch.tensor([LOSS_WEIGHTS["teacher"], LOSS_WEIGHTS["caption"]])
        if not torch.isfinite(loss):
            raise RuntimeError("The loss is not finite; start again with a lower PEAK_LR.")
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_([p for g in self.optimizer.param_groups for p in g["params"]], 5.0)
        self.optimizer.step()
        return losses.detach()

    def set_learning_rate(self, part: float) -> None:
        """Warm up over the first steps, then follow half a cosine over the training time."""
        rate = min(1.0, (self.step + 1) / WARM_UP_STEPS) * 0.5
        rate *= 1 + math.cos(math.pi * min(part, 1.0))
        for group in self.optimizer.param_groups:
            group["lr"] = group["peak"] * max(rate, 0.01)

    def heldout_map(self) -> float:
        """Return the averaged weights' mAP on tar 9, over tags with at least 5 positives."""
        model = Ram(self.model.config)
        model.load_state_dict(self.average)
        rows = self.data.threshold_rows
        return mean_ap(self.data.targets[rows], self.data.predict(model.eval(), rows), minimum=5)

    def save(self, cache: Path) -> None:
        """Write checkpoint.pt whole or not at all."""
        state = {
            "model": self.model.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "position": [self.step, self.trained_s],
        }
        torch.save(state, cache / "checkpoint.tmp")
        (cache / "checkpoint.tmp").replace(cache / "checkpoint.pt")

    def resume(self, cache: Path) -> None:
        """Go on from checkpoint.pt if there is one."""
        if not (cache / "checkpoint.pt").exists():
            return
        state = torch.load(cache / "checkpoint.pt", weights_only=True)
        self.model.load_state_dict(state["model"])
        self.average = state["average"]
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.trained_s = state["position"]


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("--data", "--cache", "--folder"):
        parser.add_argument(name, type=Path, required=True)
    parser.add_argument("--minutes", type=float, default=6)
    parser.add_argument("--from", type=Path, dest="start", required=True, help="model folder")
    a = parser.parse_args()
    print(json.dumps(main(a.data, a.cache, a.folder, a.minutes, a.start), indent=2))

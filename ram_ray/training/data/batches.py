"""Parts of a feed and what is known of their samples, as tensors for a forward pass."""

from typing import Any

import numpy as np
import pyarrow as pa
import torch

from ram_model.training.augmentation import augmentation_rng
from ram_model.training.training_losses import CaptionBatch
from ram_model.vocabulary import Vocabulary
from ram_model.wordpiece import WordPieceTokenizer
from ram_ray.training.data.feed import Part
from ram_ray.training.data.order import Plan
from ram_ray.training.objective import Batch
from ram_ray.training.teachers import StoredFeatures, Teacher


class BatchMaker:
    """Looks up what is known of a part's samples; an empty part becomes an image of no weight."""

    def __init__(
        self,
        samples: pa.Table,
        plan: Plan,
        vocabulary: Vocabulary,
        *,
        seed: int,
        device: str,
        tokenizer: WordPieceTokenizer | None = None,
        teacher: Teacher | None = None,
        texts: StoredFeatures | None = None,
    ) -> None:
        self._samples = samples
        self._plan = plan
        self._vocabulary = vocabulary
        self._seed = seed
        self._device = device
        self._tokenizer = tokenizer
        self._teacher = teacher
        self._texts = texts

    def make(self, part: Part) -> Batch:
        """Return the batch of one forward pass, on the device."""
        count = max(1, len(part.samples))
        size = part.pixels.shape[1]
        pixels = part.pixels if len(part.samples) else np.zeros((1, size, size, 3), np.uint8)
        present = np.zeros(count, np.float32)
        present[: len(part.samples)] = [error is None for error in part.errors]
        rows = self._samples.take(part.samples).to_pylist()
        targets, known = self._targets(rows, count)
        texts, own_text = self._step_texts(part, count)
        return Batch(
            num_samples=len(part.samples),
            pixels=torch.from_numpy(pixels.copy()).to(self._device),
            present=torch.from_numpy(present).to(self._device),
            targets=torch.from_numpy(targets).to(self._device),
            known=torch.from_numpy(known).to(self._device),
            captions=self._captions(rows, part.step, count),
            teacher=self._teacher_features(rows, part, count),
            texts=texts,
            own_text=own_text,
        )

    def _targets(self, rows: list[dict[str, Any]], count: int) -> tuple[np.ndarray, np.ndarray]:
        targets = np.zeros((count, len(self._vocabulary)), np.float32)
        known = np.ones((count, len(self._vocabulary)), np.bool_)
        for row, sample in enumerate(rows):
            targets[row, sample["tag_ids"]] = sample["scores"]
            known[row, sample["unknown"]] = False
        return targets, known

    def _captions(self, rows: list[dict[str, Any]], step: int, count: int) -> CaptionBatch | None:
        """Return one caption of each image, another one in each epoch, with the tags it names."""
        if self._tokenizer is None:
            return None
        texts, names = [""] * count, [[] for _ in range(count)]
        for row, sample in enumerate(rows):
            if sample["captions"]:
                choice = self._choice(sample["image_id"], step) % len(sample["captions"])
                texts[row] = sample["captions"][choice]
                names[row] = [self._vocabulary.names[i] for i in sample["caption_tags"][choice]]
        return CaptionBatch.encode(self._tokenizer, texts, names).to(self._device)

    def _teacher_features(
        self, rows: list[dict[str, Any]], part: Part, count: int
    ) -> torch.Tensor | None:
        if self._teacher is None:
            return None
        ids = [row["image_id"] for row in rows]
        if not ids:
            whole = np.array([[0, 0, 1, 1, 0]], np.float64)
            size = part.pixels.shape[1]
            one = self._teacher.features(["-"], np.zeros((1, size, size, 3), np.uint8), whole)
            return torch.full((count, one.shape[1]), torch.nan).to(self._device)
        return self._teacher.features(ids, part.pixels, part.crops).to(self._device)

    def _step_texts(
        self, part: Part, count: int
    ) -> tuple[torch.Tensor | None, torch.Tensor | None]:
        """Return text features of the whole step's captions, and which is each image's own."""
        if self._texts is None:
            return None, None
        step = self._plan.samples(part.step)
        names = self._samples["image_id"].take(step).to_pylist()
        found = [self._texts.one(name, self._choice(name, part.step)) for name in names]
        place = {int(sample): number for number, sample in enumerate(step)}
        own = [place[int(sample)] for sample in part.samples] or [0] * count
        texts = torch.nan_to_num(torch.stack(found))
        return texts.to(self._device), torch.tensor(own, device=self._device)

    def _choice(self, image_id: str, step: int) -> int:
        return choose_caption(self._seed, self._plan.epoch_of(step), image_id)


def choose_caption(seed: int, epoch: int, image_id: str) -> int:
    """Return a random number that picks an image's caption of an epoch."""
    rng = augmentation_rng(seed=seed, epoch=epoch, sample=f"caption of {image_id}")
    return int(rng.integers(2**31))

"""Grounding DINO (arXiv 2303.05499) as a locator: boxes of any words, through transformers.

Needs transformers: `pip install 'ram-ray[grounding]'`, and a folder with the model and its
processor, as `save_pretrained` writes it or a hub snapshot holds it. Nothing is downloaded.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ram_model.vocabulary import Vocabulary
from ram_ray.config import require
from ram_ray.data_engine.look.locators import Region
from ram_ray.errors import ConfigError


@dataclass(frozen=True, kw_only=True, slots=True)
class GroundingConfig:
    """What counts as found, and how much the model sees at once."""

    min_score: float = 0.25
    """0..1, of a box for a tag; the authors' demo uses 0.35 for boxes and 0.25 for words."""
    regions_per_tag: int = 3
    tags_per_prompt: int = 20
    """Tags asked for in one pass; a prompt that gets too long for the model is cut earlier."""
    batch_size: int = 4
    """Prompts per forward pass."""
    device: str = "cpu"

    def __post_init__(self) -> None:
        require(0 <= self.min_score <= 1, "min_score", self.min_score, "between 0 and 1")
        for name in ("regions_per_tag", "tags_per_prompt", "batch_size"):
            require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")


@dataclass(frozen=True, kw_only=True, slots=True)
class Prompt:
    """Several tags in one sentence: "dog. brown bear."."""

    tag_ids: tuple[int, ...]
    spans: tuple[tuple[int, int], ...]
    """First and after-last character of each tag's words."""
    text: str


class GroundingDino:
    """Finds tags by their names; asks for several per pass."""

    name = "grounding-dino"

    def __init__(
        self, folder: str | Path, vocabulary: Vocabulary, config: GroundingConfig | None = None
    ) -> None:
        """Load model and processor from a folder.

        Raises:
            ConfigError: transformers is missing, or the folder holds no Grounding DINO.
        """
        self._config = config or GroundingConfig()
        self._names = [name.lower().rstrip(". ") for name in vocabulary.names]
        self._model, self._processor = _load(folder)
        self._model.eval().to(self._config.device)
        self._max_pieces = int(self._model.config.max_text_len)

    def regions(self, image: np.ndarray, tag_ids: Sequence[int]) -> list[Region]:
        """As `Locator.regions`; the score is the model's for the tag's best word piece."""
        prompts = self._prompts(list(dict.fromkeys(tag_ids)))
        found: list[Region] = []
        size = self._config.batch_size
        for start in range(0, len(prompts), size):
            found += self._ask(image, prompts[start : start + size])
        return found

    def _prompts(self, tag_ids: list[int]) -> list[Prompt]:
        """Return prompts of at most `tags_per_prompt` tags that fit the model's text length."""
        prompts: list[Prompt] = []
        group: list[int] = []
        for tag_id in tag_ids:
            longer = _prompt([*group, tag_id], self._names)
            full = len(group) == self._config.tags_per_prompt
            if group and (full or self._num_pieces(longer.text) > self._max_pieces):
                prompts.append(_prompt(group, self._names))
                group = []
            group.append(tag_id)
        return [*prompts, _prompt(group, self._names)] if group else prompts

    def _num_pieces(self, text: str) -> int:
        return len(self._processor.tokenizer(text)["input_ids"])

    @torch.inference_mode()
    def _ask(self, image: np.ndarray, prompts: list[Prompt]) -> list[Region]:
        texts = [prompt.text for prompt in prompts]
        inputs = self._processor(
            images=[image] * len(prompts), text=texts, return_tensors="pt", padding=True
        )
        outputs = self._model(**inputs.to(self._config.device))
        scores = outputs.logits.sigmoid().float().cpu().numpy()
        boxes = outputs.pred_boxes.float().cpu().numpy()
        tokens = self._processor.tokenizer(texts, return_offsets_mapping=True)
        found: list[Region] = []
        for at, prompt in enumerate(prompts):
            corners = _corners(boxes[at])
            offsets = tokens["offset_mapping"][at]
            for tag_id, span in zip(prompt.tag_ids, prompt.spans, strict=True):
                pieces = [
                    k for k, (start, stop) in enumerate(offsets) if _inside(start, stop, span)
                ]
                pieces = [k for k in pieces if k < scores.shape[2]]
                if pieces:
                    own = scores[at][:, pieces].max(axis=1)
                    found += _best(tag_id, corners, own, self._config)
        return found


def _best(
    tag_id: int, corners: np.ndarray, scores: np.ndarray, config: GroundingConfig
) -> list[Region]:
    # the matching during training leaves one box per object, so nothing is suppressed
    order = np.argsort(-scores, kind="stable")[: config.regions_per_tag]
    return [
        Region(
            tag_id=tag_id,
            box=(
                float(corners[row, 0]),
                float(corners[row, 1]),
                float(corners[row, 2]),
                float(corners[row, 3]),
            ),
            score=float(scores[row]),
        )
        for row in order.tolist()
        # NaN is kept, for check_regions to count
        if not scores[row] < config.min_score
    ]


def _prompt(tag_ids: Sequence[int], names: Sequence[str]) -> Prompt:
    words = [names[tag_id] for tag_id in tag_ids]
    starts = np.cumsum([0, *(len(word) + 2 for word in words)]).tolist()
    spans = tuple((start, stop - 2) for start, stop in pairwise(starts))
    text = " ".join(f"{word}." for word in words)
    return Prompt(tag_ids=tuple(tag_ids), spans=spans, text=text)


def _inside(start: int, stop: int, span: tuple[int, int]) -> bool:
    return stop > start and span[0] <= start and stop <= span[1]


def _corners(boxes: np.ndarray) -> np.ndarray:
    """Return left, top, right, bottom [Q, 4] of centre, width and height."""
    centre, half = boxes[:, :2], boxes[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], axis=1)


def _load(folder: str | Path) -> tuple[Any, Any]:
    try:
        from transformers import AutoProcessor, GroundingDinoForObjectDetection
    except ImportError as error:
        raise ConfigError("Grounding DINO needs: pip install 'ram-ray[grounding]'") from error
    if not (Path(folder) / "config.json").is_file():
        raise ConfigError(f"There is no Grounding DINO in {folder}: it has no config.json.")
    try:
        model = GroundingDinoForObjectDetection.from_pretrained(folder, local_files_only=True)
        processor = AutoProcessor.from_pretrained(folder, local_files_only=True)
    except (OSError, ValueError) as error:
        raise ConfigError(f"{folder} holds no usable Grounding DINO: {error}") from error
    return model, processor

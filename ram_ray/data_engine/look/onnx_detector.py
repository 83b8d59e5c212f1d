"""Plug in an ONNX detector by file. Layout understood: FastestDet's (one anchor-free grid).

Needs onnxruntime: `pip install 'ram-ray[onnx]'`.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from ram_model.vocabulary import Vocabulary
from ram_ray.config import require
from ram_ray.data_engine.look.locators import Region
from ram_ray.errors import ConfigError

COCO_SYNONYMS = {
    "motorbike": "motorcycle",
    "aeroplane": "airplane",
    "sofa": "couch",
    "pottedplant": "potted plant",
    "diningtable": "dining table",
    "tvmonitor": "tv",
}
"""Darknet's spelling of COCO classes, where it differs from COCO's own."""


@dataclass(frozen=True, kw_only=True, slots=True)
class DetectorConfig:
    """What counts as found."""

    min_score: float = 0.35
    """0..1; chosen for recall: the tagger judges each region afterwards."""
    max_overlap: float = 0.45
    """Of two boxes of a class that overlap more (IoU), the better one stays."""
    regions_per_tag: int = 3

    def __post_init__(self) -> None:
        require(0 <= self.min_score <= 1, "min_score", self.min_score, "between 0 and 1")
        require(0 < self.max_overlap <= 1, "max_overlap", self.max_overlap, "above 0, at most 1")
        require(self.regions_per_tag >= 1, "regions_per_tag", self.regions_per_tag, "at least 1")


class OnnxDetector:
    """A detector in an .onnx file, with the names of its classes.

    Output understood, as FastestDet's: float [1, 5 + C, G, G], per cell objectness (0..1), box
    (x and y offsets before tanh, width and height before sigmoid), C class probabilities (0..1).
    Input: float [1, 3, S, S], BGR, 0..1.
    """

    def __init__(
        self,
        path: str | Path,
        names: Sequence[str],
        vocabulary: Vocabulary,
        config: DetectorConfig | None = None,
    ) -> None:
        """Open the file.

        Args:
            names: of the classes, in the order of the file's output.
            vocabulary: classes are matched with its names and aliases; others are never found.

        Raises:
            ConfigError: onnxruntime is missing, the file cannot be read, its layout is another,
                or no class is a tag.
        """
        self._config = config or DetectorConfig()
        self._session = _open(path)
        self._input = self._session.get_inputs()[0].name
        self._side = int(self._session.get_inputs()[0].shape[-1])
        shape = self._session.get_outputs()[0].shape
        if len(shape) != 4 or shape[1] != 5 + len(names):
            raise ConfigError(
                f"{path} gives {shape}, but must give (1, {5 + len(names)}, G, G) for "
                f"{len(names)} classes: objectness, box, classes per grid cell."
            )
        self._class_of = _match(names, vocabulary)
        if not self._class_of:
            raise ConfigError(f"None of the {len(names)} classes of {path} is a tag.")
        self.name = Path(path).stem

    @property
    def tag_ids(self) -> list[int]:
        """Tags that the detector has a class for, ascending."""
        return sorted(self._class_of)

    def regions(self, image: np.ndarray, tag_ids: Sequence[int]) -> list[Region]:
        """As `Locator.regions`."""
        classes = {t: self._class_of[t] for t in dict.fromkeys(tag_ids) if t in self._class_of}
        if not classes:
            return []
        boxes, scores = self._detect(image)
        regions = []
        for tag_id, column in classes.items():
            own = scores[:, column]
            order = np.argsort(-own, kind="stable")
            order = order[own[order] >= self._config.min_score]
            for row in _suppress(boxes, order, self._config):
                left, top, right, bottom = boxes[row].tolist()
                score = float(own[row])
                region = Region(tag_id=tag_id, box=(left, top, right, bottom), score=score)
                regions.append(region)
        return regions

    def _detect(self, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return boxes [G*G, 4] and scores [G*G, C]."""
        size = (self._side, self._side)
        small = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
        bgr = np.asarray(small)[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) / 255
        output = self._session.run(None, {self._input: np.ascontiguousarray(bgr)})[0][0]
        return decode_grid(output)


def decode_grid(output: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return boxes [G*G, 4] (0..1, not clipped) and scores [G*G, C] of FastestDet's output.

    A score is objectness^0.6 x probability^0.4, as its authors combine them.
    """
    height, width = output.shape[1:]
    cells = output.reshape(len(output), -1)
    rows, columns = np.divmod(np.arange(height * width), width)
    with np.errstate(over="ignore"):
        centre_x = (np.tanh(cells[1]) + columns) / width
        centre_y = (np.tanh(cells[2]) + rows) / height
        box_width, box_height = (1 / (1 + np.exp(-cells[k])) for k in (3, 4))
    boxes = np.stack(
        [
            centre_x - box_width / 2,
            centre_y - box_height / 2,
            centre_x + box_width / 2,
            centre_y + box_height / 2,
        ],
        axis=1,
    )
    scores = np.maximum(cells[0], 0)[:, None] ** 0.6 * np.maximum(cells[5:], 0).T ** 0.4
    return boxes, scores


def _suppress(boxes: np.ndarray, order: np.ndarray, config: DetectorConfig) -> list[int]:
    kept: list[int] = []
    for row in order.tolist():
        if len(kept) == config.regions_per_tag:
            break
        if all(_overlap(boxes[row], boxes[other]) <= config.max_overlap for other in kept):
            kept.append(row)
    return kept


def _overlap(a: np.ndarray, b: np.ndarray) -> float:
    sides = np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2])
    both = float(np.prod(np.maximum(sides, 0)))
    either = float(np.prod(a[2:] - a[:2]) + np.prod(b[2:] - b[:2])) - both
    return both / either if either > 0 else 0.0


def _match(names: Sequence[str], vocabulary: Vocabulary) -> dict[int, int]:
    """Return the class of each tag that has one."""
    classes: dict[int, int] = {}
    for column, name in enumerate(names):
        for tag_id in vocabulary.find(name) or vocabulary.find(COCO_SYNONYMS.get(name, name)):
            classes.setdefault(tag_id, column)
    return classes


def _open(path: str | Path) -> Any:
    try:
        import onnxruntime
        from onnxruntime.capi import (
            onnxruntime_pybind11_state as state,  # pyright: ignore[reportAttributeAccessIssue] - a C module without stubs
        )
    except ImportError as error:
        raise ConfigError("An ONNX detector needs: pip install 'ram-ray[onnx]'") from error
    if not Path(path).is_file():
        raise ConfigError(f"There is no detector at {path}.")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1  # actors share the machine; each is one CPU to Ray
    options.inter_op_num_threads = 1
    try:
        providers = ["CPUExecutionProvider"]
        return onnxruntime.InferenceSession(str(path), options, providers=providers)
    except (state.Fail, state.InvalidProtobuf, state.InvalidGraph) as error:
        raise ConfigError(f"{path} cannot be read as ONNX: {error}") from error

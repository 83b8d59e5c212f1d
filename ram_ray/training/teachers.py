"""What a student learns from besides labels: a teacher's image features, captions' text features.

Stored features are Parquet rows of `image_id` and

    features   float [E]: of the whole image, so the student must see it whole (`augment: none`)
    map        float [E * h * w], a square map of features: cut to the crop that the student sees

A teacher that is a folder is run on the very pixels that the student sees.
"""

import math
from typing import Protocol

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn import functional as F

from ram_model.errors import CheckpointError
from ram_model.networks.normalisation import Normalisation
from ram_model.transforms import CLIP_MEAN, CLIP_STD
from ram_model.words.clip import load_image_tower
from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.storage.parquet import table_of
from ram_ray.storage.reading import read_uri
from ram_ray.training.config import TrainConfig


class Teacher(Protocol):
    """Gives image features of what the student sees."""

    def features(self, image_ids: list[str], pixels: np.ndarray, crops: np.ndarray) -> Tensor:
        """Return float32 [B, E]; NaN rows for images it does not know.

        Args:
            pixels: uint8 [B, S, S, 3].
            crops: as of a `feed.Part`.
        """
        ...


def open_teacher(config: TrainConfig, width: int) -> Teacher | None:
    """Return the teacher of a run; None where nothing is distilled.

    Args:
        width: E, of the student's label space.

    Raises:
        ConfigError: it cannot be read, or has another width.
    """
    if config.distillation_weight == 0:
        return None
    source = str(config.teacher)
    if not source.endswith(".parquet"):
        return TowerTeacher(source, width)
    stored = StoredFeatures(source, config.store, width)
    if not stored.has_maps and config.augment != "none":
        raise ConfigError(
            f"augment is {config.augment!r}, but {source} holds features of whole images only: "
            "give it a column map, or set augment to none: both must see the same."
        )
    return stored


class StoredFeatures:
    """Features or feature maps by image id."""

    def __init__(self, uri: str, store: StoreConfig, width: int) -> None:
        table = _read_table(uri, store)
        self.has_maps = "map" in table.column_names
        column = "map" if self.has_maps else "features"
        if column not in table.column_names or "image_id" not in table.column_names:
            raise ConfigError(f"{uri} needs the columns image_id and features (or map).")
        self._values = table[column].combine_chunks()
        self._rows: dict[str, list[int]] = {}
        for row, image_id in enumerate(table["image_id"].to_pylist()):
            self._rows.setdefault(str(image_id), []).append(row)
        self._width = width
        length = len(self._values[0]) if len(table) else 0
        self._side = math.isqrt(length // width)
        if length == 0 or self._side**2 * width != length or (self._side > 1) > self.has_maps:
            raise ConfigError(
                f"{uri} holds {length} numbers a row, but the model's width is {width}."
            )

    def features(self, image_ids: list[str], pixels: np.ndarray, crops: np.ndarray) -> Tensor:
        """As of a `Teacher`; the first row of each image."""
        found = [self.one(image_id, 0) for image_id in image_ids]
        values = torch.stack(found) if found else torch.zeros(0, self._width * self._side**2)
        if not self.has_maps:
            return values
        maps = values.view(-1, self._width, self._side, self._side)
        return crop_maps(maps, torch.from_numpy(crops.copy()).float()).mean((2, 3))

    def one(self, image_id: str, choice: int) -> Tensor:
        """Return one row of an image, float32; NaN where it has none."""
        rows = self._rows.get(image_id) or self._rows.get(image_id.rpartition(".")[0])
        if rows is None:
            return torch.full((self._width * self._side**2,), math.nan)
        values = self._values[rows[choice % len(rows)]].values
        return torch.from_numpy(values.to_numpy(zero_copy_only=False).astype(np.float32))


def crop_maps(maps_BEHW: Tensor, crops_B5: Tensor) -> Tensor:
    """Return feature maps of crops, resampled to the size of the maps.

    Args:
        crops_B5: left, top, width, height as shares of the image, 1 where mirrored.
    """
    left, top, width, height, mirrored = crops_B5.unbind(1)
    zero = torch.zeros_like(left)
    # grid_sample's coordinates go from -1 to 1
    across = torch.where(mirrored > 0, -width, width)
    theta = torch.stack(
        [across, zero, 2 * left + width - 1, zero, height, 2 * top + height - 1], 1
    ).view(-1, 2, 3)
    grid = F.affine_grid(theta, list(maps_BEHW.shape), align_corners=False)
    return F.grid_sample(maps_BEHW, grid, padding_mode="border", align_corners=False)


class TowerTeacher:
    """The image tower of a CLIP: a folder that small-CLIP training wrote, or open_clip's files."""

    def __init__(self, folder: str, width: int) -> None:
        try:
            self._tower = load_image_tower(folder)
        except CheckpointError as error:
            raise ConfigError(f"The teacher cannot be read: {error}") from error
        if self._tower.width != width:
            raise ConfigError(
                f"The teacher {folder} has features of {self._tower.width} numbers, the model's "
                f"label space {width}."
            )
        self._normalise = Normalisation(CLIP_MEAN, CLIP_STD)

    @torch.inference_mode()
    def features(self, image_ids: list[str], pixels: np.ndarray, crops: np.ndarray) -> Tensor:
        """As of a `Teacher`."""
        images = self._normalise(torch.from_numpy(pixels.copy()))
        size = self._tower.image_size_px
        if images.shape[-1] != size:
            images = F.interpolate(images, size=(size, size), mode="bicubic", antialias=True)
        return self._tower(images).clone()


def open_texts(config: TrainConfig, width: int) -> StoredFeatures | None:
    """Return the text features of captions for RAM++'s alignment loss; None where it has none."""
    if config.alignment_weight == 0:
        return None
    return StoredFeatures(str(config.alignment_texts), config.store, width)


def _read_table(uri: str, store: StoreConfig) -> pa.Table:
    try:
        return table_of(read_uri(uri, store))
    except FileNotFoundError as error:
        raise ConfigError(f"{uri} does not exist.") from error
    except pa.ArrowInvalid as error:
        raise ConfigError(f"{uri} is not Parquet: {error}.") from error

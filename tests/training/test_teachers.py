"""What a teacher says must be about what the student sees."""

import math
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ram_ray.errors import ConfigError
from ram_ray.training.config import TrainConfig
from ram_ray.training.teachers import crop_maps, open_teacher


def config(path: Path, **changes: str) -> TrainConfig:
    given = {"data": "x", "output": "y", "labels": "z", "vocabulary": "v", "teacher": str(path)}
    return TrainConfig(**given | changes, distillation_weight=1.0)  # pyright: ignore[reportArgumentType]


def test_maps_are_cut_to_the_crop() -> None:
    ramp = torch.arange(8.0).expand(8, 8)[None, None]  # a feature that says how far right
    crops = torch.tensor([[0, 0, 1, 1, 0], [0.5, 0, 0.5, 1, 0], [0.5, 0, 0.5, 1, 1.0]])
    whole, right, mirrored = crop_maps(ramp.expand(3, 1, 8, 8), crops)
    assert torch.allclose(whole, ramp[0])
    assert right.mean() == pytest.approx(5.5, abs=0.1)
    assert torch.allclose(mirrored, right.flip(2), atol=1e-5)


def test_features_of_whole_images_need_whole_images(tmp_path: Path) -> None:
    path = tmp_path / "t.parquet"
    rows = [{"image_id": "a", "features": [1.0, 2.0, 3.0]}]
    pq.write_table(pa.Table.from_pylist(rows), path)
    with pytest.raises(ConfigError, match="give it a column map, or set augment to none"):
        open_teacher(config(path), 3)
    teacher = open_teacher(config(path, augment="none"), 3)
    assert teacher is not None
    pixels, crops = np.zeros((2, 4, 4, 3), np.uint8), np.array([[0, 0, 1, 1, 0.0]] * 2)
    known, unknown = teacher.features(["a", "b"], pixels, crops)
    assert known.tolist() == [1, 2, 3]
    assert all(map(math.isnan, unknown.tolist()))
    with pytest.raises(ConfigError, match="holds 3 numbers a row, but the model's width is 4"):
        open_teacher(config(path, augment="none"), 4)

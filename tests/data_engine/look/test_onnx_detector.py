import os
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ram_model.vocabulary import Vocabulary
from ram_ray.data_engine.look.onnx_detector import DetectorConfig, OnnxDetector, decode_grid
from ram_ray.errors import ConfigError

SHARED = Path(os.environ.get("RAM_RAY_SHARED", Path(__file__).parents[4] / "shared"))


def vocabulary(*names):
    return Vocabulary(names=names, thresholds=np.full(len(names), 0.5, np.float32))


def test_a_cell_of_the_grid_becomes_a_box_around_it():
    output = np.full((5 + 2, 4, 4), -20.0, np.float32)
    output[1:3] = 0  # no offset from the cell's corner
    output[3:5] = 0  # sigmoid: half of the image
    output[0, 2, 1], output[5, 2, 1] = 1.0, 1.0
    boxes, scores = decode_grid(output)
    assert scores.argmax() == (2 * 4 + 1) * 2  # row 2, column 1, class 0
    np.testing.assert_allclose(boxes[2 * 4 + 1], [0.0, 0.25, 0.5, 0.75])
    assert scores.max() == pytest.approx(1)


def test_a_missing_file_says_so(tmp_path):
    with pytest.raises(ConfigError, match="no detector at"):
        OnnxDetector(tmp_path / "none.onnx", ["dog"], vocabulary("dog"))


def test_a_file_that_is_no_network_says_so(tmp_path):
    path = tmp_path / "text.onnx"
    path.write_bytes(b"not a network")
    with pytest.raises(ConfigError, match="cannot be read as ONNX"):
        OnnxDetector(path, ["dog"], vocabulary("dog"))


@pytest.mark.shared
def test_a_real_detector_finds_a_person_and_no_zebra():
    teachers, photos = SHARED / "data/teachers", SHARED / "data/photos/coco_mini"
    if not (teachers / "FastestDet.onnx").is_file():
        pytest.skip(f"needs {teachers}/FastestDet.onnx")
    names = (teachers / "coco.names").read_text().split("\n")
    names = [name.strip() for name in names if name.strip()]
    tags = vocabulary("person", "zebra", "couch", "happiness")
    detector = OnnxDetector(
        teachers / "FastestDet.onnx", names, tags, DetectorConfig(min_score=0.5)
    )
    assert detector.tag_ids == [0, 1, 2]  # couch by the synonym sofa
    found = []
    for path in sorted(photos.rglob("*.jpg"))[:12]:
        with Image.open(path) as image:
            found += detector.regions(np.asarray(image.convert("RGB")), [0, 1, 2, 3])
    assert any(region.tag_id == 0 for region in found)
    assert all(0.5 <= region.score <= 1 for region in found)

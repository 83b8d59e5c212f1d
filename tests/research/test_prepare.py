"""What ram-mini is trained from: a cache of real photos, with an untrained teacher."""

import io
import json
import tarfile
from pathlib import Path

import numpy as np
import pytest
import torch
from torchvision.models import squeezenet1_0

from research.ram_mini.prepare import HELD_OUT_TARS, TEACHER_FILE, prepare
from research.ram_mini.teacher import Teacher
from research.ram_mini.train import Data, Student, Trainer, mini_config
from tests.conftest import photo_bytes


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    (folder / TEACHER_FILE).parent.mkdir()
    torch.manual_seed(0)
    torch.save(squeezenet1_0().state_dict(), folder / TEACHER_FILE)
    (folder / "flickr8k_train").mkdir()
    (folder / "imagenet_sample_train").mkdir()
    for number in range(12):
        write_tar(folder / f"flickr8k_train/{number:02d}.tar", number, ["A dog runs ."])
    write_tar(folder / "imagenet_sample_train/0.tar", 12, None)
    return folder


def write_tar(path: Path, number: int, captions: list[str] | None) -> None:
    with tarfile.open(path, "w") as tar:
        facts = {} if captions is None else {"captions": captions}
        for name, content in (("jpg", photo_bytes(number)), ("json", json.dumps(facts).encode())):
            info = tarfile.TarInfo(f"photo-{number:02d}.{name}")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def test_a_smaller_cache_has_the_first_tars_and_the_held_out_ones(
    data: Path, tmp_path: Path
) -> None:
    prepare(data, tmp_path / "all")
    prepare(data, tmp_path / "few", train_tars=2)
    whole, few = Data(tmp_path / "all"), Data(tmp_path / "few")
    assert whole.tar.tolist() == list(range(13))
    assert few.tar.tolist() == [0, 1, *HELD_OUT_TARS]
    kept = few.tar
    for name in ("pixels_160", "pixels_128"):
        assert np.array_equal(getattr(few, name), getattr(whole, name)[kept])
    assert np.array_equal(few.teacher_map[:2], whole.teacher_map[:2])
    assert (few.teacher_map[:2] > 0).any((1, 2, 3)).all()
    assert not few.teacher_map[2:].any()  # nothing is learned from them
    assert few.targets[:, few.tags.index("dog")].all()


def test_fewer_photos_than_a_step_takes_are_refused(data: Path, tmp_path: Path) -> None:
    prepare(data, tmp_path, train_tars=2)
    found = Data(tmp_path)
    student = Student(mini_config(len(found.tags), embed_dim=24), np.full(len(found.tags), 0.1))
    assert student.ram.config.image_encoder.width == 192
    with pytest.raises(ValueError, match="There are 2 training photos, but a step takes 64"):
        Trainer(student, found, Teacher(found, tmp_path), total_s=1)

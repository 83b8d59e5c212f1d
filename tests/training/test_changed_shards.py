"""Tars and Parquet files that are cut, replaced or deleted while a run reads them."""

import io
import re
import shutil
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch

from ram_model import open_model
from ram_ray.config import StoreConfig
from ram_ray.errors import ImageError
from ram_ray.storage.stores import open_store
from ram_ray.training.checkpoints import newest_whole
from ram_ray.training.data.reading import SampleReader, ShardChangedError
from ram_ray.training.data.samples import index_samples
from ram_ray.training.pipeline import TrainingFailedError, train
from tests.conftest import S3Server
from tests.training.scene import assert_same_weights, config_of, photo, write_scene, write_tar


def read_all(samples: pa.Table, store: StoreConfig) -> list[bytes | ImageError | ShardChangedError]:
    reader = SampleReader(store)
    try:
        return reader.read_all(samples.to_pylist())
    finally:
        reader.close()


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-9000])


def other_order(path: Path) -> None:
    """The same photos, so that each name still has its label, but at other places."""
    write_tar(path, range(4)[::-1])


def other_photos(path: Path) -> None:
    write_tar(path, range(10, 14))


def delete(path: Path) -> None:
    path.unlink()


Change = Callable[[Path], None]

TAR_CHANGES: dict[Change, str] = {
    cut: "it ends before a.tar/photo-000",
    other_order: "lies where a.tar/photo-000|does not begin where it did",
    other_photos: "photo-0010.png lies where a.tar/photo-0000.png did",
    delete: "it is gone",
}


@pytest.mark.parametrize("change", TAR_CHANGES)
def test_a_tar_that_changed_is_never_read_as_the_old_one(tmp_path: Path, change: Change) -> None:
    write_tar(tmp_path / "a.tar", range(4))
    samples = index_samples(str(tmp_path), StoreConfig())
    assert read_all(samples, StoreConfig()) == [photo(n) for n in range(4)]
    change(tmp_path / "a.tar")
    found = read_all(samples, StoreConfig())
    changed = [data for data in found if isinstance(data, ShardChangedError)]
    assert changed
    assert re.search(TAR_CHANGES[change], str(changed[0]))
    kept = [(n, data) for n, data in enumerate(found) if isinstance(data, bytes)]
    assert all(data == photo(n) for n, data in kept)


@pytest.mark.parametrize("change", TAR_CHANGES)
def test_the_same_in_a_bucket(tmp_path: Path, s3: S3Server, change: Change) -> None:
    path = tmp_path / "a.tar"
    write_tar(path, range(4))
    name = f"changed-{change.__name__.replace('_', '-')}"
    url = s3.bucket(name, {"a.tar": path.read_bytes()})
    samples = index_samples(url, s3.config)
    assert read_all(samples, s3.config) == [photo(n) for n in range(4)]
    change(path)
    if path.exists():
        s3.client.put_object(Bucket=name, Key="a.tar", Body=path.read_bytes())
    else:
        s3.client.delete_object(Bucket=name, Key="a.tar")
    changed = [e for e in read_all(samples, s3.config) if isinstance(e, ShardChangedError)]
    assert changed
    assert re.search(TAR_CHANGES[change], str(changed[0]))


def write_rows(path: Path, numbers: range) -> None:
    rows = [{"image_id": f"p{n}", "image": photo(n)} for n in numbers]
    pq.write_table(pa.Table.from_pylist(rows), path, row_group_size=2)


PARQUET_CHANGES: dict[Change, str] = {
    lambda path: write_rows(path, range(4)[::-1]): "row 0 is not p0 any more",
    lambda path: write_rows(path, range(1)): "row 1 is not p1 any more",
    cut: "Parquet|footer",
    delete: "it is gone",
}


@pytest.mark.parametrize("change", PARQUET_CHANGES)
def test_a_parquet_file_that_changed_is_noticed(tmp_path: Path, change: Change) -> None:
    write_rows(tmp_path / "b.parquet", range(4))
    samples = index_samples(str(tmp_path), StoreConfig())
    assert read_all(samples, StoreConfig()) == [photo(n) for n in range(4)]
    change(tmp_path / "b.parquet")
    changed = [e for e in read_all(samples, StoreConfig()) if isinstance(e, ShardChangedError)]
    assert changed
    assert re.search(PARQUET_CHANGES[change], str(changed[0]))


def test_a_long_name_is_no_change(tmp_path: Path) -> None:
    """Names beyond 100 letters, or not in ASCII, stand elsewhere in a tar."""
    names = ["a" * 150 + ".png", "./b.png", "blühende-wiese.png"]
    with tarfile.open(tmp_path / "a.tar", "w") as tar:
        for number, name in enumerate(names):
            info = tarfile.TarInfo(name)
            info.size = len(photo(number))
            tar.addfile(info, io.BytesIO(photo(number)))
    samples = index_samples(str(tmp_path), StoreConfig())
    assert read_all(samples, StoreConfig()) == [photo(n) for n in range(3)]


@pytest.mark.parametrize("change", [cut, other_photos, delete])
def test_a_run_stops_with_a_sentence_and_goes_on_when_the_shard_is_back(
    tmp_path: Path, change: Change
) -> None:
    undisturbed = write_scene(tmp_path / "undisturbed")
    train(config_of(undisturbed))
    settings = write_scene(tmp_path / "scene")
    shard, copy = Path(settings["data"]) / "b.tar", tmp_path / "copy.tar"
    shutil.copy(shard, copy)

    def disturb(line: dict[str, Any]) -> None:
        if line["step"] == 3:  # one step after the first checkpoint
            change(shard)

    with pytest.raises(TrainingFailedError, match=rf"The shard {shard} is not what it was") as met:
        train(config_of(settings), on_progress=disturb)
    assert met.value.exit_code == 5
    assert "\n" not in str(met.value)
    step, remarks = newest_whole(open_store(settings["output"], StoreConfig()))
    assert (step, remarks) == (2, [])
    shutil.copy(copy, shard)
    assert train(config_of(settings)).attempts[0].first_step == 2
    assert_same_weights(weights(settings), weights(undisturbed))


def weights(settings: dict[str, Any]) -> dict[str, torch.Tensor]:
    return dict(open_model(f"{settings['output']}/model").model.state_dict())

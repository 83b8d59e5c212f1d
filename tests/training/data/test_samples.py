"""The index of samples, and the bytes it leads to."""

import os
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.training.data.reading import SampleReader
from ram_ray.training.data.samples import index_hash, index_samples
from tests.conftest import S3Server
from tests.training.scene import photo, write_tar


def read_back(samples: pa.Table, store: StoreConfig) -> list[object]:
    reader = SampleReader(store)
    try:
        return list(reader.read_all(samples.to_pylist()))
    finally:
        reader.close()


def write_data(folder: Path) -> None:
    """Write five photos: two in a tar, two in Parquet, one loose."""
    write_tar(folder / "a.tar", range(2))
    rows = [{"image_id": f"p{n}", "image": photo(n)} for n in (2, 3)]
    pq.write_table(pa.Table.from_pylist(rows), folder / "b.parquet", row_group_size=1)
    (folder / "c.png").write_bytes(photo(4))


def test_every_image_of_every_kind_is_found_and_read(tmp_path: Path) -> None:
    write_data(tmp_path)
    samples = index_samples(str(tmp_path), StoreConfig())
    expected = ["a.tar/photo-0000.png", "a.tar/photo-0001.png", "p2", "p3", "c.png"]
    assert samples["image_id"].to_pylist() == expected
    assert read_back(samples, StoreConfig()) == [photo(n) for n in range(5)]
    assert index_hash(samples) == index_hash(index_samples(str(tmp_path), StoreConfig()))
    assert index_hash(samples) != index_hash(samples.slice(1))


def test_the_same_from_a_bucket(tmp_path: Path, s3: S3Server) -> None:
    write_data(tmp_path)
    url = s3.bucket("training", {f"x/{p.name}": p.read_bytes() for p in tmp_path.iterdir()})
    samples = index_samples(f"{url}/x", s3.config)
    assert len(samples) == 5
    assert sorted(map(bytes, read_back(samples, s3.config))) == sorted(map(photo, range(5)))  # pyright: ignore[reportArgumentType]


def test_a_list_names_samples_anywhere(tmp_path: Path, s3: S3Server) -> None:
    url = s3.bucket("training-list", {"a.jpg": photo(0)})
    (tmp_path / "b.png").write_bytes(photo(1))
    (tmp_path / "list.csv").write_text(f"image,n\n{url}/a.jpg,1\nb.png,2\n")
    samples = index_samples(str(tmp_path / "list.csv"), s3.config)
    assert samples["image_id"].to_pylist() == [f"{url}/a.jpg", "b.png"]
    assert read_back(samples, s3.config) == [photo(0), photo(1)]


def test_tars_by_a_pattern(tmp_path: Path) -> None:
    for n in range(3):
        write_tar(tmp_path / f"{n}.tar", range(n, n + 1))
    samples = index_samples(f"{tmp_path}/{{0..1}}.tar", StoreConfig())
    assert read_back(samples, StoreConfig()) == [photo(0), photo(1)]


@pytest.mark.parametrize("damage", ["cut", "header", "parquet"])
def test_a_damaged_shard_is_named(tmp_path: Path, damage: str) -> None:
    write_data(tmp_path)
    name = "b.parquet" if damage == "parquet" else "a.tar"
    data = (tmp_path / name).read_bytes()
    at = 3000 if damage == "cut" else 0
    (tmp_path / name).write_bytes(data[:at] if at else os.urandom(600) + data[600:-20])
    with pytest.raises(UnreachableError, match=rf"The shard .*{name} is damaged .*leave it out"):
        index_samples(str(tmp_path), StoreConfig())
    assert len(index_samples(str(tmp_path), StoreConfig(), exclude=[name])) == 3


def test_images_of_one_name_and_empty_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="holds no image"):
        index_samples(str(tmp_path), StoreConfig())
    for name in ("a", "b"):
        rows = [{"image_id": "photo", "image": photo(1)}]
        pq.write_table(pa.Table.from_pylist(rows), tmp_path / f"{name}.parquet")
    with pytest.raises(ConfigError, match=r"1 images .* such as photo"):
        index_samples(str(tmp_path), StoreConfig())


def test_equal_names_in_two_tars_are_two_images(tmp_path: Path) -> None:
    write_tar(tmp_path / "a.tar", range(1))
    write_tar(tmp_path / "b.tar", range(1))
    samples = index_samples(str(tmp_path), StoreConfig())
    assert samples["image_id"].to_pylist() == ["a.tar/photo-0000.png", "b.tar/photo-0000.png"]
    assert read_back(samples, StoreConfig()) == [photo(0), photo(0)]

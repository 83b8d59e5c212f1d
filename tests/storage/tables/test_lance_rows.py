"""A Lance table of images: read at the version that was listed."""

from pathlib import Path

import lance
import pyarrow as pa
import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError
from ram_ray.storage.reading import read_uri
from tests.storage.test_listing import bodies, listed

TABLE = pa.table({"image_id": ["a", "b", "c"], "image": [b"1", None, b"3"], "n": [1, 2, 3]})


def test_a_table_is_read_at_the_version_that_was_listed(tmp_path: Path) -> None:
    place = str(tmp_path / "t.lance")
    lance.write_dataset(TABLE, place)
    found = listed(place)
    assert bodies(found) == {"a": b"1", "b": "not_found", "c": b"3"}
    assert [one.image_id for one in listed(place, id_column="n")] == ["1", "2", "3"]
    assert listed(place, id_column="#row")[0].image_id == "t.lance/1"
    lance.write_dataset(pa.table({"image_id": ["a"], "image": [b"9"]}), place, mode="overwrite")
    assert bodies(found) == {"a": b"1", "b": "not_found", "c": b"3"}
    assert bodies(listed(place)) == {"a": b"9"}
    assert read_uri(found[0].uri, StoreConfig()) == b"9"


def test_another_table_at_its_place_is_changed(tmp_path: Path) -> None:
    lance.write_dataset(TABLE, tmp_path / "t.lance")
    found = listed(tmp_path / "t.lance")
    (tmp_path / "t.lance").rename(tmp_path / "old.lance")
    lance.write_dataset(TABLE, tmp_path / "t.lance")
    assert set(bodies(found).values()) == {"changed"}


def test_a_table_without_images_is_refused(tmp_path: Path) -> None:
    lance.write_dataset(TABLE.select(["n"]), tmp_path / "t.lance")
    with pytest.raises(ConfigError, match="has no column of images"):
        listed(tmp_path / "t.lance")

"""Folders and S3 behave alike, and say clearly what is wrong."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import obstore
import pytest
from obstore.exceptions import GenericError

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, DiskFullError, UnreachableError
from ram_ray.storage.stores import Store, open_store, probe_create_if_absent, split_url
from tests.conftest import S3Server


@pytest.fixture(params=["folder", "s3"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """Return an empty store of each kind."""
    if request.param == "folder":
        return open_store(str(tmp_path / "out"), StoreConfig(), create=True)
    s3 = request.getfixturevalue("s3")
    s3.client.create_bucket(Bucket=f"b-{abs(hash(tmp_path))}")
    return open_store(f"s3://b-{abs(hash(tmp_path))}/run 1", s3.config)


def test_objects_are_written_read_listed_moved_and_deleted(store: Store) -> None:
    assert list(store.list("tags")) == []
    store.write("staging/1/a.parquet", b"one")
    store.write("staging/1/a.parquet", b"two")
    store.write("tags/b.parquet", b"old")
    store.move("staging/1/a.parquet", "tags/b.parquet")
    store.write("tags/c.parquet", b"three")
    assert list(store.list("staging")) == []
    assert sorted(store.list("tags")) == ["tags/b.parquet", "tags/c.parquet"]
    store.delete("tags/c.parquet")
    store.delete("tags/c.parquet")
    assert store.read("tags/b.parquet") == b"two"
    assert (store.exists("tags/b.parquet"), store.exists("tags/c.parquet")) == (True, False)
    with pytest.raises(FileNotFoundError):
        store.read("tags/c.parquet")
    with pytest.raises(FileNotFoundError):
        store.move("staging/1/a.parquet", "tags/b.parquet")


def test_an_unfinished_write_in_a_folder_is_listed_and_can_be_deleted(tmp_path: Path) -> None:
    store = open_store(str(tmp_path), StoreConfig())
    store.write("tags/a.parquet", b"one")
    (tmp_path / "tags/a.parquet#1").write_bytes(b"half")
    assert sorted(store.list("tags")) == ["tags/a.parquet", "tags/a.parquet#1"]
    store.delete("tags/a.parquet#1")
    assert list(store.list("tags")) == ["tags/a.parquet"]


def test_exactly_one_of_many_creators_wins(store: Store) -> None:
    with ThreadPoolExecutor(8) as threads:
        won = list(threads.map(lambda n: store.create("commits/x.json", b"%d" % n), range(8)))
    assert sum(won) == 1
    assert store.read("commits/x.json") == b"%d" % won.index(True)


def test_probe_accepts_a_store_that_keeps_the_first_and_leaves_nothing(store: Store) -> None:
    probe_create_if_absent(store)
    assert list(store.list("staging")) == []


def test_probe_refuses_a_store_that_overwrites(tmp_path: Path) -> None:
    class Overwriting(Store):
        def create(self, key: str, data: bytes) -> bool:
            self.write(key, data)
            return True

    good = open_store(str(tmp_path), StoreConfig())
    with pytest.raises(ConfigError, match="create-if-absent"):
        probe_create_if_absent(Overwriting(good.url, good._raw, ""))


def test_a_missing_bucket_is_unreachable(s3: S3Server) -> None:
    store = open_store("s3://no-such-bucket/x", s3.config)
    with pytest.raises(UnreachableError, match="no such bucket"):
        store.read("run.json")
    with pytest.raises(UnreachableError, match="no such bucket"):
        list(store.list("plan"))


def test_a_server_that_is_not_there_is_unreachable(s3: S3Server) -> None:
    store = open_store("s3://bucket/x", StoreConfig(endpoint_url="http://127.0.0.1:9"))
    with pytest.raises(UnreachableError, match="cannot be reached"):
        store.read("run.json")


@pytest.mark.parametrize("url", ["ftp://host/x", "s3://", "s3:///key"])
def test_urls_we_cannot_open_are_refused(url: str) -> None:
    with pytest.raises(ConfigError):
        split_url(url)


def test_a_missing_folder_is_unreachable(tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="no folder"):
        open_store(str(tmp_path / "none"), StoreConfig())


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(UnreachableError, match="is a file"):
        open_store(str(tmp_path / "file"), StoreConfig(), create=True)


def test_split_url_keeps_odd_keys() -> None:
    assert split_url("s3://bucket/a b/c?d#e%20") == ("s3", "bucket", "a b/c?d#e%20")
    assert split_url("file:///tmp/a%20b") == ("file", "", "/tmp/a b")


def test_a_full_disk_is_final_at_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries: list[object] = []

    def full(*arguments: object, **_: object) -> None:
        tries.append(arguments)
        raise GenericError("Unable to copy data to file: No space left on device (os error 28)")

    store = open_store(str(tmp_path), StoreConfig())
    monkeypatch.setattr(obstore, "put", full)
    with pytest.raises(DiskFullError, match=r"is full: make room .* again to resume\.") as raised:
        store.write("tags/a.parquet", b"rows")
    assert (raised.value.exit_code, len(tries)) == (4, 1)

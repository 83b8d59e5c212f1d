"""Keys are opaque: each is listed as it is, once, and fetched as itself."""

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ram_ray.config import StoreConfig
from ram_ray.storage.fetching import Fetcher, FetchLimits
from ram_ray.storage.object_files import open_object
from ram_ray.storage.pins import Pin
from ram_ray.storage.reading import read_uri
from ram_ray.storage.sources import SourceObject, list_source
from ram_ray.storage.tars import index_tar
from ram_ray.storage.uris import member_uri, split_member, whole_uri
from tests.conftest import S3Server
from tests.storage.odd_keys import NOT_FOR_MOTO, ODD_KEYS, as_file
from tests.storage.paged_server import paged_server

CONTENTS = {key: key.encode() for key in ODD_KEYS}


def fetched(listed: list[SourceObject], config: StoreConfig) -> dict[str, bytes | None]:
    """Return what fetching gives of each, pinned to what was listed."""
    fetcher = Fetcher(config, FetchLimits(timeout_s=20, max_image_bytes=2_000, concurrency=8))
    pins = [Pin(item.etag, item.size_bytes, strict=True) for item in listed]
    try:
        found = fetcher.fetch_all([item.uri for item in listed], pins)
        return {item.image_id: one.result().data for item, one in zip(listed, found, strict=True)}
    finally:
        fetcher.close()


@pytest.fixture(params=["moto", "stub"])
def bucket(request: pytest.FixtureRequest) -> Iterator[tuple[str, StoreConfig, set[str]]]:
    """Return a bucket of the odd keys, how to reach it, and which keys it holds."""
    if request.param == "stub":
        with paged_server(CONTENTS) as server:
            yield "s3://bucket", server.config, set(ODD_KEYS)
        return
    s3: S3Server = request.getfixturevalue("s3")
    keys = set(ODD_KEYS) - NOT_FOR_MOTO
    name = f"odd-{abs(hash(request.node.name))}"
    yield s3.bucket(name, {key: CONTENTS[key] for key in keys}), s3.config, keys


def test_every_key_of_a_bucket_is_its_own_object(bucket: tuple[str, StoreConfig, set[str]]) -> None:
    url, config, keys = bucket
    listed = list(list_source(url, config))
    assert [item.image_id for item in listed] == sorted(keys, key=str.encode)
    assert len({item.uri for item in listed}) == len(keys)
    assert fetched(listed, config) == {key: CONTENTS[key] for key in keys}
    assert {item.image_id: read_uri(item.uri, config) for item in listed} == {
        key: CONTENTS[key] for key in keys
    }
    for item in listed:
        assert open_object(item.uri, config).read() == CONTENTS[item.image_id]


def test_every_name_in_a_folder_is_its_own_file(tmp_path: Path) -> None:
    keys = {key for key in ODD_KEYS if as_file(key)}
    for key in keys:
        (tmp_path / key).parent.mkdir(exist_ok=True)
        (tmp_path / key).write_bytes(CONTENTS[key])
    listed = list(list_source(str(tmp_path), StoreConfig()))
    assert {item.image_id for item in listed} == keys
    assert fetched(listed, StoreConfig()) == {key: CONTENTS[key] for key in keys}


def test_every_member_of_a_tar_has_its_own_bytes(tmp_path: Path) -> None:
    path = tmp_path / "all#0+1.tar"
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for key, content in CONTENTS.items():
            member = tarfile.TarInfo(key)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    with path.open("rb") as file:
        members = index_tar(file).members
    found = {
        member.name: read_uri(member_uri(str(path), member.offset, member.size), StoreConfig())
        for member in members
    }
    assert found == CONTENTS


@pytest.mark.parametrize("key", ["x.tar#0+1", "x.tar#0+1#", "x.tar#0+1##", "a#0+1", "x.tar", "#"])
def test_a_name_like_a_member_is_still_a_whole_object(key: str) -> None:
    assert split_member(whole_uri(f"s3://b/{key}")) == (f"s3://b/{key}", None)
    assert split_member(member_uri(f"s3://b/{key}.tar", 7, 9)) == (f"s3://b/{key}.tar", (7, 9))


def test_a_prefix_is_a_folder_where_there_is_one_and_else_what_keys_begin_with() -> None:
    keys = ("in/1.jpg", "in/2.jpg", "inside.jpg", "IMG_01.jpg", "IMG_02.jpg", "/x.jpg", "a//b.jpg")
    with paged_server({key: key.encode() for key in keys}) as server:

        def listed(prefix: str) -> list[str]:
            found = list_source(f"s3://bucket/{prefix}", server.config)
            return [item.image_id for item in found]

        assert listed("in") == listed("in/") == ["in/1.jpg", "in/2.jpg"]
        assert listed("IMG_0") == ["IMG_01.jpg", "IMG_02.jpg"]
        assert listed("IMG_02.jpg") == ["IMG_02.jpg"]
        assert listed("ins") == ["inside.jpg"]
        assert listed("/") == ["/x.jpg"]
        assert listed("a/") == listed("a") == listed("a//") == ["a//b.jpg"]
        assert listed("IMG_0/") == []
        assert len(listed("")) == len(keys)

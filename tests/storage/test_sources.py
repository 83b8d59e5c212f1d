"""Listing finds every object, in a stable order, whatever its name."""

import os
from pathlib import Path

import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.storage.reading import read_uri
from ram_ray.storage.sources import (
    NO_ACCESS,
    SPECIAL_FILE,
    NameFilter,
    PassedOver,
    list_source,
)
from tests.conftest import S3Server
from tests.unreadable import as_nobody, odd_folder

ODD_KEYS = ["a//b.jpg", "dot/./x.jpg", "new\tline.jpg", "per%25cent.jpg", "q?#.jpg", "z ü.jpg"]


def test_a_folder_is_listed_in_order_with_paths_as_ids(tmp_path: Path) -> None:
    for name in ("b/2.jpg", "b/10.jpg", "a.jpg", "c.txt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"x" * len(name))
    listed = list(list_source(str(tmp_path), StoreConfig()))
    assert [item.image_id for item in listed] == ["a.jpg", "b/10.jpg", "b/2.jpg", "c.txt"]
    assert [item.size_bytes for item in listed] == [5, 8, 7, 5]
    assert listed[1].uri == str(tmp_path / "b" / "10.jpg")


def test_a_file_url_lists_its_folder(tmp_path: Path) -> None:
    folder = tmp_path / "my photos"
    folder.mkdir()
    (folder / "a.jpg").write_bytes(b"x")
    for url in (f"file://{folder}", f"file://{tmp_path}/my%20photos/"):
        assert [one.image_id for one in list_source(url, StoreConfig())] == ["a.jpg"]


def test_linked_files_are_listed_and_linked_folders_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real.jpg").write_bytes(b"x")
    (tmp_path / "link.jpg").symlink_to("real.jpg")
    (tmp_path / "gone.jpg").symlink_to("nowhere")
    (tmp_path / "loop").symlink_to(".", target_is_directory=True)
    names = [item.image_id for item in list_source(str(tmp_path), StoreConfig())]
    assert names == ["gone.jpg", "link.jpg", "loop", "real.jpg"]


def test_what_is_no_file_or_may_not_be_read_is_told_and_listing_goes_on() -> None:
    passed = PassedOver()
    with odd_folder(b"x") as folder, as_nobody():
        names = [item.image_id for item in list_source(str(folder), StoreConfig(), passed)]
        with pytest.raises(UnreachableError, match=r"Cannot list .*locked"):
            list(list_source(str(folder), StoreConfig()))
    assert [name for name in names if name.endswith(".jpg")] == [
        "a.jpg", "into-locked.jpg", "loop.jpg", "z.jpg",
    ]  # fmt: skip
    assert passed.counts == {SPECIAL_FILE: 6, NO_ACCESS: 1}
    assert passed.examples == {SPECIAL_FILE: "pipe-link.jpg", NO_ACCESS: "locked/"}


def test_a_name_that_is_not_utf8_can_be_listed_and_read(tmp_path: Path) -> None:
    name = os.path.join(os.fsencode(tmp_path), b"caf\xe9.jpg")
    with open(name, "wb") as file:
        file.write(b"bytes")
    (listed,) = list_source(str(tmp_path), StoreConfig())
    assert listed.image_id == "caf\\xe9.jpg"
    assert read_uri(listed.uri, StoreConfig()) == b"bytes"


def test_a_prefix_lists_object_keys(s3: S3Server) -> None:
    objects = {"in/1.jpg": b"1", "in/2/3.jpg": b"22", "inside/4.jpg": b"no"}
    url = s3.bucket("list-prefix", objects)
    listed = list(list_source(f"{url}/in/", s3.config))
    assert [(item.image_id, item.size_bytes) for item in listed] == [
        ("in/1.jpg", 1),
        ("in/2/3.jpg", 2),
    ]
    assert listed[0].uri == "s3://list-prefix/in/1.jpg"


def test_keys_that_obstore_cannot_express_are_listed_too(s3: S3Server) -> None:
    url = s3.bucket("odd-keys", {key: key.encode() for key in [*ODD_KEYS, "0.jpg"]})
    keys = [item.image_id for item in list_source(url, s3.config)]
    assert keys == sorted([*ODD_KEYS, "0.jpg"], key=str.encode)


@pytest.mark.parametrize(
    ("include", "exclude", "accepted"),
    [
        ((), (), ["a/x.JPG", "y.png"]),
        (("*",), (), ["a/x.JPG", "y.png", "notes.txt"]),
        (("a/*",), (), ["a/x.JPG"]),
        (("*.txt", "*.png"), (), ["y.png", "notes.txt"]),
        ((), ("a/*",), ["y.png"]),
    ],
)
def test_names_decide_what_is_planned(
    include: tuple[str, ...], exclude: tuple[str, ...], accepted: list[str]
) -> None:
    names = NameFilter(include, exclude)
    assert [name for name in ("a/x.JPG", "y.png", "notes.txt") if names.accepts(name)] == accepted


def test_unreadable_sources_are_unreachable(s3: S3Server, tmp_path: Path) -> None:
    with pytest.raises(UnreachableError, match="no such bucket"):
        list(list_source("s3://nobody-has-this", s3.config))
    with pytest.raises(UnreachableError, match="does not exist"):
        list(list_source(str(tmp_path / "none"), StoreConfig()))

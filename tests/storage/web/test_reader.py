"""Images on web servers: polite, bounded, and never inside a private network unasked."""

import time
from collections.abc import Iterator
from email.utils import formatdate
from pathlib import Path

import pytest

from ram_ray.config import StoreConfig
from ram_ray.storage.reading import read_uri
from ram_ray.storage.web.reader import MAX_RETRY_AFTER_S, retry_after_s
from tests.storage.test_listing import bodies, listed, parquet_of, tar_of
from tests.storage.web.server import Site, site

OPEN = StoreConfig(private_addresses=True)


@pytest.fixture
def web() -> Iterator[Site]:
    """Return a server of two pictures and a large one."""
    with site({"a.jpg": b"a", "b": b"b", "big.jpg": b"x" * 5_001}) as state:
        yield state


def test_a_list_of_addresses_is_fetched(tmp_path: Path, web: Site) -> None:
    web.first["/a.jpg"] = [(302, {"Location": "/b"})]
    lines = [f"{web.url}/{path}" for path in ("b?width=3", "a.jpg", "big.jpg", "none.jpg")]
    lines += ["http://no-such-host.invalid/x.jpg", "http://[::1/x.jpg"]
    (tmp_path / "list.txt").write_text("\n".join(lines))
    told = list(bodies(listed(tmp_path / "list.txt"), OPEN).values())
    assert told == [b"b", b"b", "too_large", "not_found", "not_found", "fetch_failed"]
    assert read_uri(lines[0], OPEN) == b"b"


def test_private_networks_are_not_asked(tmp_path: Path, web: Site) -> None:
    port = web.url.rpartition(":")[2]
    hosts = ["127.0.0.1", "localhost", "127.1", "2130706433", "[::ffff:127.0.0.1]"]
    (tmp_path / "list.txt").write_text("\n".join(f"http://{one}:{port}/b" for one in hosts))
    told = bodies(listed(tmp_path / "list.txt"))
    assert set(told.values()) <= {"access_denied", "fetch_failed"}  # aiohttp refuses odd numbers
    assert web.asked == []


def test_a_server_is_left_alone_for_as_long_as_it_asks(tmp_path: Path, web: Site) -> None:
    web.first["/a.jpg"] = [(429, {"Retry-After": "2"})]
    (tmp_path / "list.txt").write_text(f"{web.url}/a.jpg")
    assert list(bodies(listed(tmp_path / "list.txt"), OPEN).values()) == [b"a"]
    (_, first, _), (_, second, _) = web.asked
    assert second - first >= 1.9


def test_a_host_is_asked_a_few_things_at_once(tmp_path: Path, web: Site) -> None:
    web.pause_s = 0.05
    web.files |= {f"{n}.jpg": b"x" for n in range(12)}
    (tmp_path / "list.txt").write_text("\n".join(f"{web.url}/{n}.jpg" for n in range(12)))
    few = StoreConfig(private_addresses=True, requests_per_host=2)
    assert set(bodies(listed(tmp_path / "list.txt"), few).values()) == {b"x"}
    assert web.most_at_once == 2


def test_containers_are_read_in_ranges_of_what_was_listed(web: Site) -> None:
    web.files |= {"0.tar": tar_of({"a.jpg": b"0"}), "1.tar": tar_of({"a.jpg": b"1"})}
    web.files["t.parquet"] = parquet_of({"key": ["k"], "jpg": [b"2"]})
    tars = listed(f"{web.url}/{{0..1}}.tar", OPEN)
    rows = listed(f"{web.url}/t.parquet", OPEN)
    assert bodies([*tars, *rows], OPEN) == {"0.tar/a.jpg": b"0", "1.tar/a.jpg": b"1", "k": b"2"}
    web.files["0.tar"] = tar_of({"a.jpg": b"9"})
    web.files["t.parquet"] = parquet_of({"key": ["k"], "jpg": [b"9"]})
    assert list(bodies([*tars, *rows], OPEN).values()) == ["changed", b"1", "changed"]


def test_how_long_a_server_asks() -> None:
    assert retry_after_s("3") == 3
    assert retry_after_s("99999") == MAX_RETRY_AFTER_S
    assert 50 < retry_after_s(formatdate(time.time() + 60, usegmt=True)) <= 60
    assert [retry_after_s(odd) for odd in ("", "soon", "-1")] == [0, 0, 0]

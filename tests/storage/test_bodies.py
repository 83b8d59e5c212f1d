"""What is fetched is whole, and is what was listed, or says that it is not."""

import os
from collections.abc import Iterator
from hashlib import md5
from pathlib import Path

import pytest

from ram_ray.config import StoreConfig
from ram_ray.storage import again, bodies
from ram_ray.storage.fetching import MAX_ATTEMPTS, Fetched, Fetcher, FetchLimits
from ram_ray.storage.pins import Pin
from ram_ray.storage.sources import list_source
from ram_ray.storage.uris import member_uri
from tests.conftest import S3Server
from tests.faults.store_proxy import (
    READ_FAULTS,
    Choose,
    Fault,
    Proxy,
    Request,
    first,
    spoilt_server,
)

DATA = bytes(range(256)) * 100


def fetch(
    uri: str, pin: Pin | None, config: StoreConfig, *, timeout_s: float = 20, limit: int = 10**6
) -> Fetched:
    fetcher = Fetcher(config, FetchLimits(timeout_s, limit, concurrency=4))
    try:
        (future,) = fetcher.fetch_all([uri], [pin])
        return future.result(timeout=60)
    finally:
        fetcher.close()


def etag(data: bytes) -> str:
    return f'"{md5(data, usedforsecurity=False).hexdigest()}"'


def code(fetched: Fetched) -> str | None:
    return fetched.error and fetched.error.code.value


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Return a proxy before a bucket of its own, named by `proxy_uri`."""
    monkeypatch.setattr(again, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("tests.faults.store_proxy.SLOW_READ_S", 0.05)
    assert s3.config.endpoint_url
    with spoilt_server(s3.config.endpoint_url, lambda _: None) as proxy:
        yield proxy


@pytest.fixture
def uri(s3: S3Server, request: pytest.FixtureRequest) -> str:
    name = f"bodies-{abs(hash(request.node.name))}"
    return f"{s3.bucket(name, {'a.jpg': DATA, '/a.jpg': DATA[::-1]})}/a.jpg"


def config(proxy: Proxy) -> StoreConfig:
    return StoreConfig(endpoint_url=proxy.url)


def gets(request: Request) -> bool:
    return request.method == "GET"


@pytest.mark.parametrize("fault", READ_FAULTS)
@pytest.mark.parametrize("key", ["a.jpg", "/a.jpg"])
def test_any_fault_of_a_read_is_got_over(fault: Fault, key: str, uri: str, proxy: Proxy) -> None:
    data = DATA if key == "a.jpg" else DATA[::-1]
    uri = uri.removesuffix("a.jpg") + key
    proxy.choose = first(fault, gets)
    fetched = fetch(uri, Pin(etag(data), len(data)), config(proxy))
    assert fetched == Fetched(data, None, 1 if fault == Fault.SLOW_READ else 2)


def test_a_body_that_is_always_short_is_no_picture(uri: str, proxy: Proxy) -> None:
    proxy.choose = first(Fault.SHORT, gets, times=99)
    fetched = fetch(uri, Pin(etag(DATA), len(DATA)), config(proxy))
    assert (code(fetched), fetched.attempts) == ("fetch_failed", MAX_ATTEMPTS)
    assert fetched.error
    assert "12800 of 25600 bytes came" in fetched.error.message


def test_a_body_that_stalls_is_asked_for_again(uri: str, proxy: Proxy) -> None:
    proxy.choose = first(Fault.STALL, gets)
    assert fetch(uri, Pin(etag(DATA), len(DATA)), config(proxy), timeout_s=3).data == DATA


def test_what_was_replaced_is_taken_and_named_or_refused(
    uri: str, proxy: Proxy, s3: S3Server
) -> None:
    seen = Pin('"another"', 7)
    assert fetch(uri, seen, config(proxy)) == Fetched(DATA, None, 1, etag(DATA))
    strict = fetch(uri, Pin('"another"', len(DATA), strict=True), config(proxy))
    assert (code(strict), strict.data) == ("changed", None)
    proxy.choose = first(Fault.SHORT, gets)  # half of the new content is no content
    assert fetch(uri, seen, config(proxy)) == Fetched(DATA, None, 2, etag(DATA))
    unknown = fetch(uri, Pin(None, 7), config(proxy))  # a retry's plan knows no etag
    assert (unknown.data, unknown.etag) == (DATA, None)
    gone = fetch(uri.replace("a.jpg", "gone.jpg"), seen, config(proxy))
    assert (code(gone), gone.attempts) == ("not_found", 1)


def test_a_part_is_of_the_container_that_was_listed(s3: S3Server, proxy: Proxy) -> None:
    url = s3.bucket("bodies-tar", {"x.tar": DATA})
    part = member_uri(f"{url}/x.tar", 512, 1_000)
    assert fetch(part, Pin(etag(DATA), 1_000), config(proxy)).data == DATA[512:1_512]
    proxy.choose = first(Fault.SHORT, gets)
    assert fetch(part, Pin(etag(DATA), 1_000), config(proxy)).data == DATA[512:1_512]
    assert code(fetch(part, Pin('"another"', 1_000), config(proxy))) == "changed"
    beyond = member_uri(f"{url}/x.tar", len(DATA), 10)
    assert code(fetch(beyond, None, config(proxy))) == "changed"


def in_the_second_range(fault: Fault) -> Choose:
    seen: list[Request] = []

    def choose(request: Request) -> Fault | None:
        seen.append(request)
        return fault if sum(map(gets, seen)) == 2 else None

    return choose


@pytest.mark.parametrize("fault", [None, *READ_FAULTS])
def test_large_objects_come_in_ranges(
    fault: Fault | None, uri: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bodies, "RANGE_BYTES", 4_000)
    proxy.choose = in_the_second_range(fault) if fault else proxy.choose
    fetched = fetch(uri, Pin(etag(DATA), len(DATA)), config(proxy))
    assert fetched.data == DATA
    repeated = fault not in (None, Fault.SLOW_READ)
    assert sum(map(gets, proxy.requests)) == 7 + repeated  # one range again, not all


def test_ranges_are_of_one_content(uri: str, proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bodies, "RANGE_BYTES", 4_000)
    replaced = fetch(uri, Pin('"another"', 30_000), config(proxy))
    assert replaced == Fetched(DATA, None, 1, etag(DATA))
    assert code(fetch(uri, Pin('"another"', 30_000, strict=True), config(proxy))) == "changed"
    assert code(fetch(uri, Pin('"another"', 30_000), config(proxy), limit=9_000)) == "too_large"


def test_local_files_are_pinned_by_size_and_time(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    path.write_bytes(b"first")
    os.utime(path, ns=(1, 1))
    (listed,) = list_source(str(tmp_path), StoreConfig())
    pin = Pin(listed.etag, listed.size_bytes)
    strict = Pin(listed.etag, listed.size_bytes, strict=True)
    assert fetch(listed.uri, strict, StoreConfig()) == Fetched(b"first", None, 1)
    path.write_bytes(b"other")
    os.utime(path, ns=(1, 2))
    assert fetch(listed.uri, pin, StoreConfig()) == Fetched(b"other", None, 1, "mtime:2")
    assert code(fetch(listed.uri, strict, StoreConfig())) == "changed"
    assert code(fetch(member_uri(f"{path}.tar", 0, 1), pin, StoreConfig())) == "not_found"
    path.rename(f"{path}.tar")
    member = member_uri(f"{path}.tar", 1, 2)
    assert fetch(member, Pin("mtime:2", 2), StoreConfig()).data == b"th"
    assert code(fetch(member_uri(f"{path}.tar", 0, 1), pin, StoreConfig())) == "changed"

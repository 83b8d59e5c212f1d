"""A run's own objects in a store that fails: each fault is got over, and none twice done."""

import time
from collections.abc import Iterator

import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage import again
from ram_ray.storage.stores import Store, is_dead_probe, open_store, probe_create_if_absent
from tests.conftest import S3Server
from tests.faults.store_proxy import (
    CREATE_FAULTS,
    READ_FAULTS,
    WRITE_FAULTS,
    Fault,
    Proxy,
    Request,
    first,
    spoilt_server,
)


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    """Return a proxy that spoils nothing yet; a test sets its `choose`."""
    monkeypatch.setattr(again, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("tests.faults.store_proxy.SLOW_READ_S", 0.05)
    monkeypatch.setattr("tests.faults.store_proxy.SILENCE_S", 0.05)
    assert s3.config.endpoint_url
    with spoilt_server(s3.config.endpoint_url, lambda _: None) as proxy:
        yield proxy


@pytest.fixture
def store(proxy: Proxy, s3: S3Server, request: pytest.FixtureRequest) -> Store:
    """Return an empty store behind the proxy."""
    bucket = f"again-{abs(hash(request.node.name))}"
    s3.client.create_bucket(Bucket=bucket)
    return open_store(f"s3://{bucket}/run", StoreConfig(endpoint_url=proxy.url))


def puts(request: Request) -> bool:
    return request.method == "PUT"


def gets(request: Request) -> bool:
    return request.method == "GET"


@pytest.mark.parametrize("fault", CREATE_FAULTS)
def test_a_create_is_done_once_and_knows_that_it_was_first(
    fault: Fault, store: Store, proxy: Proxy
) -> None:
    proxy.choose = first(fault, puts)
    assert store.create("commits/x.json", b"mine")
    assert not store.create("commits/x.json", b"another's")
    assert store.read("commits/x.json") == b"mine"


@pytest.mark.parametrize("fault", CREATE_FAULTS)
def test_a_create_of_what_another_made_is_refused(fault: Fault, store: Store, proxy: Proxy) -> None:
    store.write("commits/x.json", b"another's")
    proxy.choose = first(fault, puts)
    assert not store.create("commits/x.json", b"mine")
    assert store.read("commits/x.json") == b"another's"


@pytest.mark.parametrize("fault", WRITE_FAULTS)
def test_writes_moves_and_deletes_are_tried_again(fault: Fault, store: Store, proxy: Proxy) -> None:
    for method in ("PUT", "POST", "DELETE"):
        proxy.choose = first(fault, lambda request, method=method: request.method == method)
        store.write("staging/a", b"one")
        proxy.choose = first(fault, lambda request, method=method: request.method == method)
        store.move("staging/a", "tags/a")
        assert list(store.list("staging")) == []
        assert store.read("tags/a") == b"one"
        proxy.choose = first(fault, lambda request, method=method: request.method == method)
        store.delete("tags/a")
        assert not store.exists("tags/a")


@pytest.mark.parametrize("fault", READ_FAULTS)
def test_reads_and_listings_are_whole(fault: Fault, store: Store, proxy: Proxy) -> None:
    for number in range(3):
        store.write(f"tags/{number}", b"some bytes of an object")
    proxy.choose = first(fault, gets, times=2)
    assert store.read("tags/1") == b"some bytes of an object"
    proxy.choose = first(fault, gets, times=2)
    assert list(store.list("tags")) == ["tags/0", "tags/1", "tags/2"]
    proxy.choose = first(fault, lambda request: request.method == "HEAD")
    assert store.exists("tags/1")


def test_a_listing_goes_on_where_a_page_was_cut(store: Store, proxy: Proxy) -> None:
    keys = [f"tags/{number}" for number in range(5)]
    for key in keys:
        store.write(key, b"")
    proxy.page_keys = 2
    faults = iter((None, Fault.TRUNCATED, None, Fault.SHORT))
    proxy.choose = lambda request: next(faults, None)
    assert list(store.list("tags")) == keys
    assert next(faults, "all happened") == "all happened"


@pytest.mark.parametrize("fault", CREATE_FAULTS)
@pytest.mark.parametrize("which", [1, 2])
def test_a_probe_is_not_misled(fault: Fault, which: int, store: Store, proxy: Proxy) -> None:
    seen: list[Request] = []

    def choose(request: Request) -> Fault | None:
        seen.append(request)
        met = sum(map(puts, seen)) == which and puts(request)
        return fault if met and fault in request.faults else None

    proxy.choose = choose
    probe_create_if_absent(store)
    assert list(store.list("staging")) == []


def test_a_probe_still_refuses_a_server_that_overwrites(store: Store, proxy: Proxy) -> None:
    proxy.ignores_conditions = True
    with pytest.raises(ConfigError, match="create-if-absent"):
        probe_create_if_absent(store)


def test_what_cannot_be_cleaned_up_ends_no_run(
    store: Store, proxy: Proxy, caplog: pytest.LogCaptureFixture
) -> None:
    store.write("staging/a", b"one")
    proxy.choose = first(Fault.FAIL, lambda request: request.method in ("POST", "DELETE"), times=99)
    store.discard("staging/a")
    assert "It stays" in caplog.text
    with pytest.raises(UnreachableError, match="Cannot delete staging/a"):
        store.delete("staging/a")
    store.move("staging/a", "tags/a")
    assert store.read("tags/a") == store.read("staging/a") == b"one"


def test_a_store_that_always_fails_is_given_up(store: Store, proxy: Proxy) -> None:
    proxy.choose = first(Fault.SLOW_DOWN, gets, times=99)
    with pytest.raises(UnreachableError, match="Cannot read run"):
        store.read("run.json")
    assert len(proxy.requests) == again.TRIES


def test_a_probe_is_cleaned_up_when_its_driver_must_be_gone() -> None:
    now = int(time.time())
    assert is_dead_probe(f"staging/probe-{'a' * 32}")  # 0.1.0
    assert is_dead_probe(f"staging/probe-{now - 7_200}-{'a' * 32}")
    assert not is_dead_probe(f"staging/probe-{now}-{'a' * 32}")  # perhaps in use by a rival
    assert not is_dead_probe("staging/shard-000001/a/tags.parquet")

"""A bucket is listed exactly, page by page at many places, and also where pages fail."""

from collections.abc import Iterator

import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import UnreachableError
from ram_ray.storage import again
from ram_ray.storage.bucket_listing import begins_any_key, list_bucket, parse_page
from ram_ray.storage.sources import list_after, list_source
from tests.conftest import S3Server
from tests.faults.store_proxy import READ_FAULTS, Fault, Proxy, Request, first, spoilt_server

KEYS = [f"in/{folder}/{number:03d}.jpg" for folder in "abc" for number in range(0, 200, 9)]


@pytest.fixture(scope="module")
def bucket(s3: S3Server) -> str:
    s3.bucket("listing", {key: key.encode() for key in KEYS})
    return "listing"


@pytest.fixture
def proxy(s3: S3Server, monkeypatch: pytest.MonkeyPatch) -> Iterator[Proxy]:
    monkeypatch.setattr(again, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr("tests.faults.store_proxy.SLOW_READ_S", 0.05)
    assert s3.config.endpoint_url
    with spoilt_server(s3.config.endpoint_url, lambda _: None) as proxy:
        proxy.page_keys = 4
        yield proxy


def config(proxy: Proxy) -> StoreConfig:
    return StoreConfig(endpoint_url=proxy.url)


def test_many_pages_are_what_boto3_lists(bucket: str, proxy: Proxy, s3: S3Server) -> None:
    listed = list(list_bucket(bucket, "in/", config(proxy)))
    told = s3.client.list_objects_v2(Bucket=bucket, Prefix="in/")["Contents"]
    assert listed == [(one["Key"], one["ETag"], one["Size"]) for one in told]
    assert len(listed) == len(KEYS)
    after = list_after(f"s3://{bucket}/in", config(proxy), KEYS[40])
    assert [item.image_id for item in after] == KEYS[41:]


@pytest.mark.parametrize("fault", READ_FAULTS)
def test_a_page_that_fails_is_asked_for_again(fault: Fault, bucket: str, proxy: Proxy) -> None:
    proxy.choose = first(fault, lambda request: "start-after" in request.path, times=3)
    assert [item.image_id for item in list_source(f"s3://{bucket}/in", config(proxy))] == KEYS


def test_a_bucket_that_always_fails_is_unreachable(bucket: str, proxy: Proxy) -> None:
    def third_page(request: Request) -> Fault | None:
        return Fault.SLOW_DOWN if len(proxy.requests) >= 2 else None

    proxy.choose = third_page
    with pytest.raises(UnreachableError, match=r"Cannot list s3://listing/in/: .*SlowDown"):
        list(list_bucket(bucket, "in/", config(proxy)))


def test_a_beginning_that_no_key_has(bucket: str, s3: S3Server) -> None:
    assert begins_any_key(bucket, "in/a", s3.config)
    assert not begins_any_key(bucket, "in/d", s3.config)


@pytest.mark.parametrize("page", [b"<html/>", b"<ListBucketResult><Contents>", b""])
def test_a_page_that_is_none_is_refused(page: bytes) -> None:
    with pytest.raises((ValueError, SyntaxError)):
        parse_page(page)


def test_a_page_beyond_a_part_is_not_read_to_its_end() -> None:
    key, rest = b"<Contents><Key>b%2B.jpg</Key>", b"<ETag>e</ETag><Size>1</Size></Contents>"
    encoded = b"<EncodingType>url</EncodingType>"
    page = b"<ListBucketResult>" + encoded + key + rest + b"</ListBucketResult>"
    assert parse_page(page, "b").keys == []
    assert parse_page(page, "b+.jpg").keys == ["b+.jpg"]
    as_it_is = page.replace(encoded, b"")  # by a server that does not encode
    assert parse_page(as_it_is, "b+").keys == ["b%2B.jpg"]

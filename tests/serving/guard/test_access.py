"""Keys, rates, and pages of other web sites."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient

from ram_ray.errors import ConfigError
from ram_ray.serving.config import AccessConfig, LimitConfig, ServeConfig, check_access
from ram_ray.serving.guard.access import RateLimit, load_keys, network_of
from ram_ray.serving.problems import Problem
from tests.conftest import photo_bytes
from tests.serving.conftest import client_of

JPEG = {"content-type": "image/jpeg"}


@pytest.fixture(scope="module")
def keyed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TestClient]:
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("# who may call\nalice:alice-secret\n\nbob:bob-secret\n")
    limits = LimitConfig(images_per_s=0.01, burst_images=2, max_images_per_request=2)
    access = AccessConfig(api_keys_file=str(keys))
    config = ServeConfig(device="cpu", host="0.0.0.0", access=access, limits=limits)
    with client_of(config) as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"authorization": "Bearer wrong"},
        {"authorization": "alice-secret"},
        {"x-api-key": "alice"},
        {"authorization": "Basic YWxpY2U6YWxpY2Utc2VjcmV0"},
    ],
)
def test_without_a_key_nothing_is_read(headers: dict[str, str], keyed: TestClient) -> None:
    answer = keyed.post("/v1/tag", content=photo_bytes(1), headers=JPEG | headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (401, "unauthorized")
    assert keyed.get("/metrics", headers=headers).status_code == 401
    assert keyed.get("/v1/models", headers=headers).status_code == 401


def test_probes_need_no_key(keyed: TestClient) -> None:
    for path in ("/healthz", "/readyz", "/openapi.json"):
        assert keyed.get(path).status_code == 200


def test_rates_are_counted_per_key_and_say_when_to_come_back(keyed: TestClient) -> None:
    alice = JPEG | {"authorization": "Bearer alice-secret"}
    statuses = [
        keyed.post("/v1/tag", content=photo_bytes(1), headers=alice).status_code for _ in range(3)
    ]
    assert statuses == [200, 200, 429]
    answer = keyed.post("/v1/tag", content=photo_bytes(1), headers=alice)
    assert answer.json()["error"]["code"] == "rate_limited"
    assert 90 <= int(answer.headers["retry-after"]) <= 101
    bob = JPEG | {"x-api-key": "bob-secret"}
    assert keyed.post("/v1/tag", content=photo_bytes(1), headers=bob).status_code == 200


def test_tokens_come_back_with_time(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("ram_ray.serving.guard.access.time.monotonic", lambda: now)
    rate = RateLimit(LimitConfig(images_per_s=2, burst_images=64))
    rate.spend("a", 64)
    now += 2.0
    rate.spend("a", 4)
    with pytest.raises(Problem) as refused:
        rate.spend("a", 1)
    assert refused.value.headers == {"Retry-After": "1"}
    rate.spend("b", 64)


def test_pages_of_other_web_sites_are_refused(client: TestClient) -> None:
    ask = {"url": "/v1/tag", "content": photo_bytes(1)}
    own = JPEG | {"origin": "http://127.0.0.1:8000"}
    assert client.post(**ask, headers=own).status_code == 200
    for origin in ("http://evil.example", "null", "http://127.0.0.1:9000"):
        answer = client.post(**ask, headers=JPEG | {"origin": origin})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "forbidden_origin")
    # a name that resolves to 127.0.0.1: its own origin, but not this server's
    rebound = JPEG | {"origin": "http://evil.example:8000", "host": "evil.example:8000"}
    assert client.post(**ask, headers=rebound).status_code == 403


def test_a_named_origin_may_call() -> None:
    access = AccessConfig(allowed_origins=("https://app.example.org",))
    with client_of(ServeConfig(device="cpu", access=access)) as client:
        origin = {"origin": "https://app.example.org"}
        asked = {"access-control-request-method": "POST"}
        asked["access-control-request-headers"] = "content-type,x-api-key"
        preflight = client.options("/v1/tag", headers=origin | asked)
        assert preflight.status_code == 200
        assert preflight.headers["access-control-allow-origin"] == origin["origin"]
        assert "x-api-key" in preflight.headers["access-control-allow-headers"]
        refused = client.post("/v1/tag", content=b"", headers=JPEG | origin)
        assert refused.status_code == 400  # an empty image: the page may read why
        assert refused.headers["access-control-allow-origin"] == origin["origin"]
        assert "X-Request-ID" in refused.headers["access-control-expose-headers"]
        other = client.options("/v1/tag", headers=asked | {"origin": "https://evil.example"})
        assert other.status_code == 400
        assert "access-control-allow-origin" not in other.headers


def test_without_named_origins_nobody_elsewhere_may_read(client: TestClient) -> None:
    answer = client.get("/healthz", headers={"origin": "https://app.example.org"})
    assert answer.status_code == 403
    assert "access-control-allow-origin" not in answer.headers


def test_keys_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAM_RAY_API_KEYS", "a:1, b:x:y ,")
    assert load_keys(AccessConfig()) == {"a": "1", "b": "x:y"}


@pytest.mark.parametrize("text", ["", "alice\n", ":x\n", "a:\n", "a:1\na:2\n"])
def test_key_files_that_cannot_be_meant(text: str, tmp_path: Path) -> None:
    path = tmp_path / "keys"
    path.write_text(text)
    with pytest.raises(ConfigError, match="keys"):
        load_keys(AccessConfig(api_keys_file=str(path)))
    with pytest.raises(ConfigError, match="cannot be read"):
        load_keys(AccessConfig(api_keys_file=str(tmp_path / "absent")))


@pytest.mark.parametrize("host", ["0.0.0.0", "192.168.1.2", "::", "example.org"])
def test_an_open_door_without_a_lock_is_refused(host: str) -> None:
    with pytest.raises(ConfigError, match=r"--api-keys FILE .* --allow-anyone"):
        check_access(ServeConfig(host=host), {})
    check_access(ServeConfig(host=host), {"a": "1"})
    check_access(ServeConfig(host=host, access=AccessConfig(allow_anyone=True)), {})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "::1", "127.1.2.3"])
def test_loopback_needs_no_keys(host: str) -> None:
    check_access(ServeConfig(host=host), {})


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::9", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
    ],
)
def test_who_has_one_ipv6_address_has_a_whole_network(address: str, network: str) -> None:
    assert network_of(address) == network

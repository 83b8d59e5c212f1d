"""Images by URL: allowed hosts, public addresses, every redirect checked."""

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread
from typing import Any

import pytest

from ram_ray.errors import ConfigError, ImageError
from ram_ray.serving.config import LimitConfig, ServeConfig, UrlConfig
from ram_ray.serving.guard.admission import Admission
from ram_ray.serving.guard.url_input import UrlFetcher
from ram_ray.serving.problems import Problem
from ram_ray.storage.web.addresses import is_public
from tests.conftest import photo_bytes
from tests.serving.conftest import client_of

MAX_BYTES = 10_000


class _Server(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        if self.path.startswith("/to?"):
            self.send_response(302)
            self.send_header("Location", self.path.removeprefix("/to?"))
            self.end_headers()
        elif self.path == "/photo.jpg":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(photo_bytes(1))
        elif self.path == "/huge":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"x" * (MAX_BYTES + 1))
        else:
            self.send_response(int(self.path.strip("/")))
            self.end_headers()

    def log_message(self, format: str, *args: Any) -> None:
        pass


@contextmanager
def web() -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Server)
    thread = Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture(scope="module")
def web_port() -> Iterator[int]:
    with web() as port:
        yield port


def fetch(url: str, *hosts: str, **options: Any) -> bytes:
    admission = Admission(LimitConfig())
    # the port of tests' own servers is named, whatever it is
    port = url.partition("://")[2].partition("/")[0].rpartition(":")[2]
    named = port if port.isdecimal() and int(port) < 65536 else "1"
    config = UrlConfig(hosts=(*hosts, *(f"{host}:{named}" for host in hosts)), timeout_s=5.0)

    async def run() -> bytes:
        async with UrlFetcher(config, admission, MAX_BYTES, **options).image(url, "me") as data:
            assert admission.pending_bytes == len(data)
            return data

    try:
        return asyncio.run(run())
    finally:
        assert admission.pending_bytes == 0


def anywhere(address: str) -> bool:
    return address == "127.0.0.1"


def test_an_image_is_fetched(web_port: int) -> None:
    url = f"http://localhost:{web_port}/photo.jpg"
    assert fetch(url, "localhost", is_allowed_address=anywhere) == photo_bytes(1)
    again = f"http://localhost:{web_port}/to?/photo.jpg"
    assert fetch(again, "localhost", is_allowed_address=anywhere) == photo_bytes(1)


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:{port}/photo.jpg",
        "http://127.0.0.1:{port}/photo.jpg",
        "http://2130706433:{port}/photo.jpg",
        "http://[::1]:{port}/photo.jpg",
    ],
)
def test_private_addresses_are_refused_even_of_allowed_hosts(url: str, web_port: int) -> None:
    with pytest.raises(Problem) as refused:
        fetch(url.format(port=web_port), "localhost", "127.0.0.1", "2130706433")
    assert refused.value.code == "url_not_allowed"


@pytest.mark.parametrize(
    "url",
    [
        "http://evil.example/a.jpg",
        "http://example.org.evil.example/a.jpg",
        "http://user@images.example.org/a.jpg",
        "http://evil.example#images.example.org",
        "http://example.org/a.jpg",
        "ftp://images.example.org/a.jpg",
        "file:///etc/passwd",
        "//images.example.org/a.jpg",
        "http://",
        "http://[::1",
        "http://images.example.org:99999/",
        "",
    ],
)
def test_other_hosts_and_schemes_are_refused(url: str) -> None:
    with pytest.raises(Problem) as refused:
        fetch(url, "*.example.org", is_allowed_address=lambda _: pytest.fail("it was resolved"))
    assert refused.value.code == "url_not_allowed"


def test_redirects_are_checked_too(web_port: int) -> None:
    """To another host, and to an allowed name with a private address."""
    here = f"http://localhost:{web_port}"
    for target in ("http://evil.example/a.jpg", "file:///etc/passwd", "http://127.0.0.1:1/"):
        with pytest.raises(Problem) as refused:
            fetch(f"{here}/to?{target}", "localhost", is_allowed_address=anywhere)
        assert refused.value.code == "url_not_allowed"


def test_the_connection_goes_to_the_address_that_was_checked(
    web_port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A name that resolves elsewhere on its second look-up gains nothing (DNS rebinding)."""
    answers = iter(["127.0.0.1", "10.0.0.1"])

    async def getaddrinfo(self: object, host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        del self, host
        address = (next(answers), port)
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    url = f"http://pictures.example.org:{web_port}/photo.jpg"
    assert fetch(url, "*.example.org", is_allowed_address=anywhere) == photo_bytes(1)
    assert next(answers) == "10.0.0.1"


def test_one_private_address_among_public_ones_is_enough(monkeypatch: pytest.MonkeyPatch) -> None:
    async def getaddrinfo(self: object, host: str, port: int, **_: object) -> list[tuple[Any, ...]]:
        del self, host
        kind = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "")
        return [(*kind, (address, port)) for address in ("93.184.215.14", "10.0.0.1")]

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", getaddrinfo)
    with pytest.raises(Problem) as refused:
        fetch("http://pictures.example.org/a.jpg", "*.example.org")
    assert refused.value.code == "url_not_allowed"


@pytest.mark.parametrize(
    ("path", "code"),
    [
        ("404", "not_found"),
        ("403", "access_denied"),
        ("500", "fetch_failed"),
        ("huge", "too_large"),
        ("to?/to?/to?/to?/to?/photo.jpg", "fetch_failed"),
    ],
)
def test_what_the_other_server_says_becomes_an_image_error(
    path: str, code: str, web_port: int
) -> None:
    with pytest.raises(ImageError) as failed:
        fetch(f"http://localhost:{web_port}/{path}", "localhost", is_allowed_address=anywhere)
    assert failed.value.code == code


def test_nobody_listens() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"http://localhost:{taken.getsockname()[1]}/a.jpg"
        with pytest.raises(ImageError) as failed:
            fetch(url, "localhost", is_allowed_address=anywhere)
    assert failed.value.code == "fetch_failed"


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.215.14", True),
        ("2606:2800:21f:cb07:6820:80da:af6b:8b2c", True),
        ("127.0.0.1", False),
        ("10.1.2.3", False),
        ("169.254.169.254", False),  # cloud metadata
        ("100.64.0.1", False),
        ("0.0.0.0", False),
        ("224.0.0.1", False),
        ("::1", False),
        ("fe80::1%eth0", False),
        ("fd00::1", False),
        ("::ffff:10.0.0.1", False),
        ("64:ff9b::a00:1", False),  # NAT64 of 10.0.0.1
        ("2002:a00:1::", False),  # 6to4 of 10.0.0.1
        # ranges that are obsolete, reserved or for documentation
        ("fec0::1", False),
        ("::8.8.8.8", False),
        ("3ffe::1", False),
        ("5f00::1", False),
        ("3fff::1", False),
        ("4000::1", False),
        ("ff0e::1", False),
    ],
)
def test_public_addresses(address: str, public: bool) -> None:
    assert is_public(address) is public


@pytest.mark.parametrize(
    ("named", "port", "is_let_in"),
    [("a.example", 80, True), ("a.example", 443, True), ("a.example", 8080, False),
     ("a.example:8080", 8080, True), ("a.example:8080", 80, False),
     ("*.example:8080", 8080, True), ("*.example", 6379, False)],
)  # fmt: skip
def test_ports_other_than_the_usual_are_named(named: str, port: int, is_let_in: bool) -> None:
    fetcher = UrlFetcher(UrlConfig(hosts=(named,)), Admission(LimitConfig()), 1)
    assert fetcher._is_allowed_host("a.example", port) is is_let_in


@pytest.mark.parametrize("host", ["", "a/b", "a:", "a:0", "a:99999", "a:b", "*", "a@b", "*.*.a"])
def test_hosts_that_cannot_be_meant(host: str) -> None:
    with pytest.raises(ConfigError, match="hosts is"):
        UrlConfig(hosts=(host,))


def test_a_refused_url_is_its_images_error(web_port: int) -> None:
    config = ServeConfig(device="cpu", urls=UrlConfig(hosts=(f"localhost:{web_port}",)))
    here = f"http://localhost:{web_port}/photo.jpg"
    urls = (here, "http://evil.example/a.jpg", "http://localhost:1/a.jpg")
    with client_of(config) as client:
        client.app.state.context.urls._is_allowed_address = anywhere  # pyright: ignore
        answer = client.post("/v1/tag", json={"images": [{"url": url} for url in urls]})
        metrics = client.get("/metrics").text
    assert answer.status_code == 200
    errors = [image["error"] and image["error"]["code"] for image in answer.json()["images"]]
    assert errors == [None, "url_not_allowed", "url_not_allowed"]
    assert 'ram_ray_images_total{outcome="url_not_allowed"} 2.0' in metrics


def test_through_the_api(web_port: int) -> None:
    config = ServeConfig(device="cpu", urls=UrlConfig(hosts=(f"localhost:{web_port}",)))
    url = f"http://localhost:{web_port}/photo.jpg"
    with client_of(config) as client:
        answer = client.post("/v1/tag", json={"images": [{"url": url}]})
        assert (answer.status_code, answer.json()["error"]["code"]) == (403, "url_not_allowed")
        client.app.state.context.urls._is_allowed_address = anywhere  # pyright: ignore
        answer = client.post("/v1/tag", json={"images": [{"url": url, "name": "it"}]})
    assert answer.json()["images"][0]["name"] == "it"
    assert answer.json()["images"][0]["width"] == 96

"""gs:// and az:// by obstore, against small stand-ins of their servers: no account is needed.

The stand-ins answer what obstore asks, unsigned; the clouds themselves were not tried.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit

import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import ConfigError, UnreachableError
from ram_ray.storage.reading import read_uri
from ram_ray.storage.stores import open_store
from tests.storage.test_listing import bodies, listed, tar_of

FILES = {
    "in/a b.jpg": b"a",
    "in/b.tar": tar_of({"c.jpg": b"c"}),
    "in/sub/d.jpg": b"d",
    "other.jpg": b"",
}
ITEM = {
    "gs": "<Contents><Key>{key}</Key><Size>{size}</Size><ETag>{etag}</ETag>"
    "<LastModified>2026-11-29T00:00:00.000Z</LastModified></Contents>",
    "az": "<Blob><Name>{key}</Name><Properties><Content-Length>{size}</Content-Length>"
    "<Etag>{etag}</Etag><Last-Modified>{date}</Last-Modified>"
    "<Content-Type>image/jpeg</Content-Type></Properties></Blob>",
}
PAGE = {
    "gs": "<ListBucketResult>{items}</ListBucketResult>",
    "az": "<EnumerationResults><Blobs>{items}</Blobs><NextMarker/></EnumerationResults>",
}


@contextmanager
def cloud(scheme: str) -> Iterator[str]:
    """Yield the address of a server of FILES in bucket "photos"."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            parts = urlsplit(self.path)
            asked = parse_qs(parts.query)
            key = unquote(parts.path).partition("/photos")[2].removeprefix("/")
            if asked.get("list-type") == ["2"] or asked.get("comp") == ["list"]:
                prefix = asked.get("prefix", [""])[0]
                items = [
                    ITEM[scheme].format(
                        key=one, size=len(body), etag=etag(one), date=formatdate(0, usegmt=True)
                    )
                    for one, body in FILES.items()
                    if one.startswith(prefix)
                ]
                self.answer(200, PAGE[scheme].format(items="".join(items)).encode(), {})
            elif key not in FILES:
                self.answer(404, b"", {})
            else:
                self.give(key)

        do_HEAD = do_GET  # noqa: N815

        def give(self, key: str) -> None:
            body, wanted = FILES[key], self.headers.get("Range") or self.headers.get("x-ms-range")
            told = {"ETag": etag(key), "Last-Modified": formatdate(0, usegmt=True)}
            if self.headers.get("If-Match", etag(key)) != etag(key):
                return self.answer(412, b"", {})
            if not wanted:
                return self.answer(200, body, told)
            start, _, last = wanted.removeprefix("bytes=").partition("-")
            part = body[int(start) : int(last) + 1]
            there = f"bytes {start}-{int(start) + len(part) - 1}/{len(body)}"
            return self.answer(206, part, told | {"Content-Range": there})

        def answer(self, status: int, body: bytes, headers: dict[str, str]) -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, format: str, *args: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, args=(0.05,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def etag(key: str) -> str:
    return f'"{abs(hash(FILES[key]))}"'


@pytest.mark.parametrize("scheme", ["gs", "az"])
def test_a_folder_of_a_cloud_is_listed_and_fetched(scheme: str) -> None:
    with cloud(scheme) as url:
        store = StoreConfig(
            gcs_endpoint_url=url,
            azure_endpoint_url=f"{url}/acc",
            azure_account="acc",
            anonymous=True,
        )
        found = listed(f"{scheme}://photos/in", store)
        wanted = {"in/a b.jpg": b"a", "in/b.tar/c.jpg": b"c", "in/sub/d.jpg": b"d"}
        assert bodies(found, store) == wanted
        assert found[0].etag == etag("in/a b.jpg")
        assert [read_uri(one.uri, store) for one in found] == list(wanted.values())
        assert listed(f"{scheme}://photos/in/b.tar", store)[0].image_id == "b.tar/c.jpg"


def test_a_cloud_that_cannot_be_used_is_said() -> None:
    with pytest.raises(UnreachableError, match="az://photos"):
        listed("az://photos/in", StoreConfig(anonymous=True))
    with pytest.raises(ConfigError, match="a source, but no place to write"):
        open_store("gs://photos/out", StoreConfig())

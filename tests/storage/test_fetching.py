"""Every fetch ends in bytes or in one error code."""

import http.server
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from ram_ray.config import StoreConfig
from ram_ray.errors import ImageErrorCode, UnreachableError
from ram_ray.storage.fetching import MAX_ATTEMPTS, Fetched, Fetcher, FetchLimits
from ram_ray.storage.reading import read_uri
from ram_ray.storage.sources import list_source
from ram_ray.storage.uris import member_uri
from tests.conftest import S3Server
from tests.storage.test_sources import ODD_KEYS
from tests.unreadable import as_nobody, odd_folder

LIMITS = FetchLimits(timeout_s=20, max_image_bytes=1_000, concurrency=4)


def fetch(uris: list[str], config: StoreConfig, limits: FetchLimits = LIMITS) -> list[Fetched]:
    fetcher = Fetcher(config, limits)
    try:
        return [future.result(timeout=60) for future in fetcher.fetch_all(uris)]
    finally:
        fetcher.close()


def codes(fetched: list[Fetched]) -> list[str | None]:
    return [item.error and item.error.code.value for item in fetched]


def test_files(tmp_path: Path) -> None:
    (tmp_path / "ok.jpg").write_bytes(b"bytes")
    (tmp_path / "big.jpg").write_bytes(b"x" * 1_001)
    (tmp_path / "folder").mkdir()
    uris = [str(tmp_path / name) for name in ("ok.jpg", "big.jpg", "folder", "gone.jpg")]
    fetched = fetch(uris, StoreConfig())
    assert fetched[0] == Fetched(b"bytes", None, 1)
    assert codes(fetched) == [None, "too_large", "not_found", "not_found"]


def test_what_is_no_file_is_never_opened() -> None:
    with odd_folder(b"x") as folder, as_nobody():
        names = ["pipe.jpg", "pipe-link.jpg", "zero.jpg", "socket.jpg", "loop.jpg",
                 "into-locked.jpg", "z.jpg"]  # fmt: skip
        fetched = fetch([str(folder / name) for name in names], StoreConfig())
    no_file = ["not_an_image"] * 4
    assert codes(fetched) == [*no_file, "not_found", "access_denied", None]
    assert [one.attempts for one in fetched] == [1] * 7


def test_objects_by_any_key(s3: S3Server) -> None:
    url = s3.bucket("fetch-odd", {key: key.encode() for key in ODD_KEYS} | {"big": b"x" * 1_001})
    fetched = fetch([f"{url}/{key}" for key in [*ODD_KEYS, "big", "gone", "a//gone"]], s3.config)
    assert [item.data for item in fetched[: len(ODD_KEYS)]] == [key.encode() for key in ODD_KEYS]
    assert codes(fetched)[len(ODD_KEYS) :] == ["too_large", "not_found", "not_found"]


def test_members_of_tars(tmp_path: Path, s3: S3Server) -> None:
    body = b"x" * 512 + b"member" + b"y" * 5_000
    (tmp_path / "a#1+2.tar").write_bytes(body)
    url = s3.bucket("fetch-tars", {"b.tar": body})
    tars = [str(tmp_path / "a#1+2.tar"), f"{url}/b.tar"]
    uris = [member_uri(tar, 512, 6) for tar in tars]
    fetched = fetch([*uris, member_uri(tars[0], 0, 2_000), f"{url}/gone.tar#0+1"], s3.config)
    assert [item.data for item in fetched[:2]] == [b"member", b"member"]
    assert codes(fetched)[2:] == ["too_large", "not_found"]
    assert [read_uri(uri, s3.config) for uri in uris] == [b"member", b"member"]


class _Scripted(http.server.BaseHTTPRequestHandler):
    """Answers each path with its list of (status, body), the last one for ever."""

    script: dict[str, list[tuple[int, bytes]]]

    def do_GET(self) -> None:
        answers = self.script[self.path.split("?")[0].rsplit("/", 1)[-1]]
        status, body = answers.pop(0) if len(answers) > 1 else answers[0]
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Last-Modified", "Tue, 24 Nov 2026 00:00:00 GMT")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        return None


@contextmanager
def scripted_server(script: dict[str, list[tuple[int, bytes]]]) -> Iterator[StoreConfig]:
    handler = type("Handler", (_Scripted,), {"script": script})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield StoreConfig(endpoint_url=f"http://127.0.0.1:{server.server_port}", anonymous=True)
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_throttling_is_retried_and_the_tries_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ram_ray.storage.again.FIRST_PAUSE_S", 0.001)
    slow_down = (503, b"<Error><Code>SlowDown</Code></Error>")
    denied = (403, b"<Error><Code>AccessDenied</Code></Error>")
    script = {"busy": [slow_down, slow_down, (200, b"ok")], "down": [slow_down], "secret": [denied]}
    with scripted_server(script) as config:
        fetched = fetch([f"s3://bucket/{key}" for key in script], config)
    assert fetched[0] == Fetched(b"ok", None, 3)
    assert codes(fetched) == [None, "fetch_failed", "access_denied"]
    assert [item.attempts for item in fetched] == [3, MAX_ATTEMPTS, 1]


def test_a_silent_server_is_a_timeout() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        config = StoreConfig(
            endpoint_url=f"http://127.0.0.1:{silent.getsockname()[1]}", anonymous=True
        )
        limits = FetchLimits(timeout_s=0.5, max_image_bytes=1_000, concurrency=4)
        (fetched,) = fetch(["s3://bucket/key"], config, limits)
    assert fetched.error is not None
    assert fetched.error.code == ImageErrorCode.FETCH_TIMEOUT


def test_no_credentials_is_a_row_not_a_crash(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_CONFIG_FILE", "/nonexistent")
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    assert codes(fetch(["s3://bucket/key"], StoreConfig())) == ["access_denied"]


@pytest.mark.parametrize(
    ("status", "code", "sentence"),
    [
        (403, "AccessDenied", "access is denied"),
        (403, "InvalidAccessKeyId", "does not accept the credentials"),
        (403, "SignatureDoesNotMatch", "secret key does not fit"),
        (404, "NoSuchBucket", "no such bucket"),
    ],
)
def test_a_bucket_that_refuses_is_unreachable_with_a_reason(
    status: int, code: str, sentence: str
) -> None:
    answer = [(status, f"<Error><Code>{code}</Code></Error>".encode())]
    with (
        scripted_server({"bucket": answer}) as config,
        pytest.raises(UnreachableError, match=sentence),
    ):
        list(list_source("s3://bucket", config))

"""Bodies that are too long or too slow, and clients that leave; over real HTTP where it matters."""

import socket
import time
from collections.abc import Iterator

import pytest
from fastapi.testclient import TestClient

from ram_ray.serving.app import create_app
from ram_ray.serving.config import LimitConfig, ServeConfig
from ram_ray.serving.models.local_backend import LocalBackend
from tests.conftest import photo_bytes
from tests.serving.conftest import client_of, http_server

JPEG = {"content-type": "image/jpeg"}
LIMITS = LimitConfig(max_body_bytes=20_000, max_pending_bytes=20_000, body_timeout_s=1.0)


@pytest.fixture(scope="module")
def small() -> Iterator[int]:
    """Return the port of a server with low limits."""
    config = ServeConfig(device="cpu", limits=LIMITS)
    with http_server(create_app(config, LocalBackend(config))) as port:
        yield port


def talk(port: int, head: str, *pieces: bytes, pause_s: float = 0.0) -> str:
    """Send a request in pieces; return what comes back until the server closes or answers."""
    with socket.create_connection(("127.0.0.1", port), timeout=10) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode())
        for piece in pieces:
            time.sleep(pause_s)
            try:
                connection.sendall(piece)
            except (BrokenPipeError, ConnectionResetError):
                break
        answer = b""
        while b"\r\n\r\n" not in answer:
            received = connection.recv(65_536)
            if not received:
                break
            answer += received
        return answer.decode()


HEAD = "POST /v1/tag HTTP/1.1\nHost: 127.0.0.1\nContent-Type: image/jpeg\n"


def test_announced_bodies_are_refused_before_they_come(small: int) -> None:
    assert talk(small, f"{HEAD}Content-Length: 999999999\n\n").startswith("HTTP/1.1 413")


def test_unannounced_bodies_are_counted_as_they_come(small: int) -> None:
    chunk = b"2000\r\n" + b"x" * 0x2000 + b"\r\n"
    assert talk(small, f"{HEAD}Transfer-Encoding: chunked\n\n", chunk, chunk, chunk).startswith(
        "HTTP/1.1 413"
    )


def test_slow_bodies_are_given_up(small: int) -> None:
    started = time.monotonic()
    drops = [b"x"] * 40
    answer = talk(small, f"{HEAD}Content-Length: 1000\n\n", *drops, pause_s=0.1)
    assert answer.startswith("HTTP/1.1 408")
    assert time.monotonic() - started < 10


def test_a_client_that_leaves_frees_its_room(small: int) -> None:
    for _ in range(3):  # each holds nearly all of the room
        with socket.create_connection(("127.0.0.1", small)) as connection:
            head = f"{HEAD}Content-Length: 19000\n\n".replace("\n", "\r\n")
            connection.sendall(head.encode() + b"x" * 100)
            time.sleep(0.1)
        time.sleep(0.3)
    data = photo_bytes(1)
    answer = talk(small, f"{HEAD}Content-Length: {len(data)}\n\n", data)
    assert answer.startswith("HTTP/1.1 200")


def test_room_is_shared_by_all_requests(small: int) -> None:
    with socket.create_connection(("127.0.0.1", small)) as connection:
        head = f"{HEAD}Content-Length: 19000\n\n".replace("\n", "\r\n")
        connection.sendall(head.encode() + b"x" * 18_000)
        time.sleep(0.3)
        answer = talk(small, f"{HEAD}Content-Length: 5000\n\n")
    assert answer.startswith("HTTP/1.1 503")
    assert "retry-after: 1" in answer.lower()


def announced(port: int, count: int, address: str, head: str = HEAD) -> list[socket.socket]:
    """Open requests that announce a body and send one byte of it."""
    connections = []
    for _ in range(count):
        connections.append(
            socket.create_connection(("127.0.0.1", port), source_address=(address, 0))
        )
        text = f"{head}Content-Length: 19000\n\n".replace("\n", "\r\n")
        connections[-1].sendall(text.encode() + b"x")
    return connections


def test_announcements_hold_no_room(small: int) -> None:
    hoard = announced(small, 8, "127.0.0.2")  # 152 kB of a room of 20 kB
    try:
        time.sleep(0.2)
        data = photo_bytes(1)
        answer = talk(small, f"{HEAD}Content-Length: {len(data)}\n\n", data)
        assert answer.startswith("HTTP/1.1 200")
    finally:
        for connection in hoard:
            connection.close()


def test_slow_bodies_of_one_client_leave_room_for_others(port: int) -> None:
    hoard = announced(port, 256, "127.0.0.2")
    try:
        time.sleep(0.3)
        assert talk(port, "GET /healthz HTTP/1.1\nHost: 127.0.0.1\n\n").startswith("HTTP/1.1 200")
        data = photo_bytes(1)
        answer = talk(port, f"{HEAD}Content-Length: {len(data)}\n\n", data)
        assert answer.startswith("HTTP/1.1 200")
        refused = sum(is_refused(connection) for connection in hoard)
        assert refused == 256 - 96
    finally:
        for connection in hoard:
            connection.close()


def is_refused(connection: socket.socket) -> bool:
    connection.settimeout(0.01)
    try:
        return connection.recv(65_536).startswith(b"HTTP/1.1 429")
    except TimeoutError:
        return False


@pytest.mark.parametrize("key", ["", "Content-Type: text/html\n"])
def test_who_is_refused_before_its_body_has_come_is_let_go(small: int, key: str) -> None:
    """A proxy would keep the place of a request whose body it still waits for."""
    head = f"POST /v1/tag HTTP/1.1\nHost: 127.0.0.1\n{key}Content-Length: 99999999\n\n"
    with socket.create_connection(("127.0.0.1", small), timeout=5) as connection:
        connection.sendall(head.replace("\n", "\r\n").encode())
        answer = b""
        while received := connection.recv(65_536):  # until the server closes
            answer += received
    assert answer.startswith(b"HTTP/1.1 413")
    assert b"connection: close" in answer.lower()


def test_a_bodys_pace_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ram_ray.serving.guard.body._GRACE_S", 0.2)
    config = ServeConfig(device="cpu", limits=LimitConfig(min_body_bytes_per_s=10_000))
    with http_server(create_app(config, LocalBackend(config))) as port:
        started = time.monotonic()
        drops = [b"x"] * 100
        answer = talk(port, f"{HEAD}Content-Length: 1000\n\n", *drops, pause_s=0.02)
        assert answer.startswith("HTTP/1.1 408")
        assert time.monotonic() - started < 3
        data = photo_bytes(1)
        pieces = [data[at : at + 500] for at in range(0, len(data), 500)]
        answer = talk(port, f"{HEAD}Content-Length: {len(data)}\n\n", *pieces, pause_s=0.01)
        assert answer.startswith("HTTP/1.1 200")


def test_a_forged_signature_holds_little_room(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAM_RAY_API_KEYS", "alice:alice-secret")
    config = ServeConfig(device="cpu")
    with http_server(create_app(config, LocalBackend(config))) as port:
        forged = (
            "POST / HTTP/1.1\nHost: 127.0.0.1\nContent-Type: application/x-amz-json-1.1\n"
            "X-Amz-Target: RekognitionService.DetectLabels\n"
            "Authorization: AWS4-HMAC-SHA256 Credential=alice/20261129/us-east-1/rekognition/"
            f"aws4_request, SignedHeaders=host, Signature={'0' * 64}\n"
        )
        hoard = announced(port, 40, "127.0.0.2", forged)
        try:
            time.sleep(0.2)
            assert sum(is_refused(connection) for connection in hoard) == 40 - 16
            data = photo_bytes(1)
            keyed = f"{HEAD}X-API-Key: alice-secret\nContent-Length: {len(data)}\n\n"
            assert talk(port, keyed, data).startswith("HTTP/1.1 200")
        finally:
            for connection in hoard:
                connection.close()


def test_request_ids_come_back_or_are_made(client: TestClient) -> None:
    assert client.get("/healthz", headers={"x-request-id": "a-1"}).headers["x-request-id"] == "a-1"
    made = {client.get("/healthz", headers={"x-request-id": "a b\t"}).headers["x-request-id"]}
    made.add(client.get("/healthz").headers["x-request-id"])
    assert len(made) == 2
    assert all(len(request_id) == 32 for request_id in made)


def test_bugs_are_answered_and_logged(
    client: TestClient, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("secret detail")

    monkeypatch.setattr("ram_ray.serving.http.tag.tag_images", broken)
    answer = client.post("/v1/tag", content=photo_bytes(1), headers=JPEG)
    assert (answer.status_code, answer.json()["error"]["code"]) == (500, "internal")
    assert "secret" not in answer.text
    assert "secret detail" in caplog.text


def test_answers_that_take_too_long_say_so(monkeypatch: pytest.MonkeyPatch) -> None:
    limits = LimitConfig(request_timeout_s=0.05)
    with client_of(ServeConfig(device="cpu", limits=limits)) as client:
        slow = "ram_ray.serving.guard.decoding.DecoderPool._decode"
        monkeypatch.setattr(slow, lambda *_: time.sleep(0.3))
        answer = client.post("/v1/tag", content=photo_bytes(1), headers=JPEG)
    assert (answer.status_code, answer.json()["error"]["code"]) == (503, "deadline_exceeded")
    assert answer.headers["retry-after"] == "5"


def test_metrics_count_requests_and_images(client: TestClient) -> None:
    client.post("/v1/tag", content=photo_bytes(1), headers=JPEG)
    client.post("/v1/tag", content=b"no image", headers=JPEG)
    client.get("/nowhere")
    lines = client.get("/metrics").text.splitlines()
    numbers = dict(line.rsplit(" ", 1) for line in lines if not line.startswith("#"))
    assert float(numbers['ram_ray_requests_total{route="/v1/tag",status="200"}']) >= 1
    assert float(numbers['ram_ray_requests_total{route="none",status="404"}']) >= 1
    assert float(numbers['ram_ray_images_total{outcome="not_an_image"}']) >= 1
    assert float(numbers["ram_ray_pending_images"]) == 0

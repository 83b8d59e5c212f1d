"""Bodies that are not what they should be are refused with a typed error, cheaply."""

import base64
import json

import pytest
from fastapi.testclient import TestClient

from ram_ray.serving.config import LimitConfig, ServeConfig
from tests.conftest import photo_bytes
from tests.serving.conftest import client_of

IMAGE = base64.b64encode(photo_bytes(1)).decode()
JSON = {"content-type": "application/json"}


def refusal(answer: object) -> tuple[int, str]:
    return answer.status_code, answer.json()["error"]["code"]  # pyright: ignore


@pytest.mark.parametrize(
    "content_type",
    [None, "text/plain", "application/x-www-form-urlencoded", "application/xml", "video/mp4", "?"],
)
def test_other_content_types(content_type: str | None, client: TestClient) -> None:
    headers = {"content-type": content_type} if content_type else {}
    answer = client.post("/v1/tag", content=photo_bytes(1), headers=headers)
    assert refusal(answer) == (415, "unsupported_media_type")


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ("", None),
        ("{", None),
        ("[]", None),
        ("{}", "images"),
        ('{"images": []}', "images"),
        ('{"images": [{}]}', "images.0"),
        (json.dumps({"images": [{"data": IMAGE, "url": "http://x"}]}), "images.0"),
        (json.dumps({"images": [{"data": IMAGE}], "top": 1}), "top"),
        (json.dumps({"images": [{"data": IMAGE}], "tags": []}), "tags"),
        ('{"images":' + "[" * 100_000, None),
    ],
)
def test_malformed_json(body: str, field: str | None, client: TestClient) -> None:
    answer = client.post("/v1/tag", content=body, headers=JSON)
    assert refusal(answer) == (422, "invalid_request")
    if field:
        assert field in [detail["field"] for detail in answer.json()["error"]["details"]]


def test_base64_that_is_none(client: TestClient) -> None:
    answer = client.post("/v1/tag", json={"images": [{"data": IMAGE}, {"data": "*" * 8}]})
    assert refusal(answer) == (422, "invalid_request")
    assert "images.1.data" in answer.json()["error"]["message"]


def test_options_in_the_address_of_a_json_request_are_not_ignored(client: TestClient) -> None:
    answer = client.post("/v1/tag?top_k=1", json={"images": [{"data": IMAGE}]})
    assert refusal(answer) == (422, "invalid_request")


def test_an_option_given_twice(client: TestClient) -> None:
    answer = client.post("/v1/tag?top_k=1", files={"a": photo_bytes(1)}, data={"top_k": "2"})
    assert refusal(answer) == (422, "invalid_request")
    answer = client.post("/v1/tag", files={"a": photo_bytes(1)}, data={"top_k": ["2", "2"]})
    assert refusal(answer) == (422, "invalid_request")


def test_form_without_files_or_boundary(client: TestClient) -> None:
    boundary = {"content-type": "multipart/form-data; boundary=x"}
    for headers, body in (
        ({"content-type": "multipart/form-data"}, b"--x--"),
        (boundary, b"--x--\r\n"),
        (boundary, b"garbage"),
        (boundary, b'--x\r\nContent-Disposition: form-data; name="top_k"\r\n\r\n1\r\n--x--\r\n'),
    ):
        answer = client.post("/v1/tag", content=body, headers=headers)
        assert refusal(answer) == (422, "invalid_request"), body


def test_too_many_images_in_each_way() -> None:
    config = ServeConfig(device="cpu", limits=LimitConfig(max_images_per_request=2))
    with client_of(config) as client:
        body = {"images": [{"data": IMAGE}] * 3}
        assert refusal(client.post("/v1/tag", json=body)) == (413, "too_many_images")
        sent = [("files", photo_bytes(seed)) for seed in range(3)]
        assert refusal(client.post("/v1/tag", files=sent)) == (413, "too_many_images")


def test_ten_thousand_parts_are_refused_early(client: TestClient) -> None:
    part = b'--x\r\nContent-Disposition: form-data; name="f"; filename="a"\r\n\r\nb\r\n'
    headers = {"content-type": "multipart/form-data; boundary=x"}
    answer = client.post("/v1/tag", content=b"".join([part] * 10_000), headers=headers)
    assert refusal(answer) == (413, "too_many_images")
    fields = b'--x\r\nContent-Disposition: form-data; name="tags"\r\n\r\ndog\r\n'
    answer = client.post("/v1/tag", content=fields * 10_000 + b"--x--\r\n", headers=headers)
    assert refusal(answer) == (413, "too_many_images")


def test_urls_are_refused_unless_enabled(client: TestClient) -> None:
    answer = client.post("/v1/tag", json={"images": [{"url": "http://127.0.0.1/a.jpg"}]})
    assert refusal(answer) == (403, "url_not_allowed")

"""What clients write differently and mean the same."""

import http.client

import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from tests.conftest import photo_bytes

BYTES = {"content-type": "application/octet-stream"}


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/", "/v1/models"])
def test_head_answers_wherever_get_does(path: str, client: TestClient) -> None:
    head, get = client.head(path), client.get(path)
    assert (head.status_code, head.content) == (get.status_code, b"")
    assert head.headers["content-type"] == get.headers["content-type"]


def test_head_over_a_real_connection_leaves_it_usable(app: FastAPI, port: int) -> None:
    del app
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    for method, path in (("HEAD", "/"), ("HEAD", "/healthz"), ("GET", "/healthz")):
        connection.request(method, path)
        answer = connection.getresponse()
        assert answer.status == 200
        assert bool(answer.read()) == (method == "GET")
    connection.close()


def test_head_is_refused_where_there_is_no_get(client: TestClient) -> None:
    assert client.head("/v1/tag").status_code == 405
    assert client.head("/nothing").status_code == 404


def test_an_endpoint_with_a_trailing_slash(client: TestClient) -> None:
    path = "/computervision/imageanalysis:analyze?api-version=2024-02-01&features=tags"
    found = [
        client.post(f"{client.base_url}{slash}{path}", content=photo_bytes(1), headers=BYTES)
        for slash in ("", "/")
    ]
    assert [answer.status_code for answer in found] == [200, 200]
    assert found[0].json() == found[1].json()
    refused = client.post(f"{client.base_url}/{path}", content=b"no image", headers=BYTES)
    assert refused.json()["error"]["innererror"]["code"] == "InvalidImageFormat"

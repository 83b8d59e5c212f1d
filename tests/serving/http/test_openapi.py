"""Fuzzing from the OpenAPI document: whatever is sent, no answer is a 500."""

import os
from collections.abc import Iterator

import hypothesis
import pytest
import schemathesis
from fastapi.testclient import TestClient

from ram_ray.serving.app import create_app
from ram_ray.serving.config import LimitConfig, ServeConfig
from ram_ray.serving.http import rekognition
from ram_ray.serving.models.local_backend import LocalBackend
from ram_ray.serving.problems import STATUS
from tests.serving.conftest import http_server

EXAMPLES = int(os.environ.get("RAM_RAY_FUZZ_EXAMPLES", "8"))
"""Requests per route and phase; the acceptance run takes some hundreds."""


@pytest.fixture(scope="module")
def fuzzed() -> Iterator[int]:
    """Return the port of a server whose limits the fuzzer can reach."""
    limits = LimitConfig(max_body_bytes=100_000, max_images_per_request=4)
    config = ServeConfig(device="cpu", limits=limits)
    with http_server(create_app(config, LocalBackend(config))) as port:
        yield port


def test_document_describes_all_ways_to_send_images(client: TestClient) -> None:
    document = client.get("/openapi.json").json()
    content = document["paths"]["/v1/tag"]["post"]["requestBody"]["content"]
    assert set(content) == {
        "multipart/form-data",
        "application/json",
        "application/octet-stream",
        "image/*",
    }
    schemas = document["components"]["schemas"]
    assert {"TagRequest", "ImageInput", "ErrorResponse", "TagResponse"} <= set(schemas)
    code = schemas["ErrorInfo"]["properties"]["code"]
    listed = {
        value for ref in code["anyOf"] for value in schemas[ref["$ref"].split("/")[-1]]["enum"]
    }
    assert listed == {str(code) for code in STATUS}


@pytest.mark.filterwarnings("ignore")
def test_no_request_is_a_server_error(fuzzed: int) -> None:
    schemathesis.serializer.alias(rekognition.CONTENT_TYPE, "application/json")
    schema = schemathesis.openapi.from_url(f"http://127.0.0.1:{fuzzed}/openapi.json")
    tried = 0
    for found in schema.get_all_operations():
        operation = found.ok()  # pyright: ignore[reportAttributeAccessIssue]

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(
            max_examples=EXAMPLES,
            deadline=None,
            suppress_health_check=(
                hypothesis.HealthCheck.too_slow,
                hypothesis.HealthCheck.filter_too_much,
                hypothesis.HealthCheck.data_too_large,
            ),
            derandomize=True,
            database=None,
        )
        def send(case: schemathesis.Case) -> None:
            nonlocal tried
            tried += 1
            answer = case.call(base_url=f"http://127.0.0.1:{fuzzed}")
            assert answer.status_code < 500, (answer.status_code, answer.text, case)
            if answer.status_code >= 400 and case.path.startswith("/v1"):
                assert answer.json()["error"]["code"]

        send()
    assert tried > EXAMPLES

"""The shapes of Azure's image tags."""

import pytest
from azure.ai.vision.imageanalysis import ImageAnalysisClient
from azure.ai.vision.imageanalysis.models import VisualFeatures
from azure.core.credentials import AzureKeyCredential
from azure.core.exceptions import HttpResponseError
from fastapi.testclient import TestClient

from ram_ray.serving.config import AccessConfig, ServeConfig
from tests.conftest import photo_bytes
from tests.serving.conftest import client_of

V4 = "/computervision/imageanalysis:analyze?api-version=2024-02-01"
V32 = "/vision/v3.2/tag"
BYTES = {"content-type": "application/octet-stream"}


def test_analyze_has_the_shape_of_image_analysis_4(client: TestClient) -> None:
    answer = client.post(f"{V4}&features=tags", content=photo_bytes(1), headers=BYTES)
    own = client.post("/v1/tag", content=photo_bytes(1), headers=BYTES).json()
    assert answer.json() == {
        "modelVersion": own["model"]["weights_sha256"][:12],
        "metadata": {"width": 96, "height": 64},
        "tagsResult": {
            "values": [
                {"name": tag["name"], "confidence": pytest.approx(tag["score"], abs=1e-5)}
                for tag in own["images"][0]["tags"]
            ]
        },
    }
    assert answer.headers["apim-request-id"] == answer.headers["x-request-id"]


def test_tag_has_the_shape_of_computer_vision_3_2(client: TestClient) -> None:
    data = photo_bytes(1, suffix=".png")
    answer = client.post(f"{V32}?language=en", content=data, headers=BYTES).json()
    assert answer.keys() == {"tags", "requestId", "metadata", "modelVersion"}
    assert answer["metadata"] == {"width": 96, "height": 64, "format": "Png"}


@pytest.mark.parametrize(
    ("address", "data", "status", "inner"),
    [
        (f"{V4}&features=tags", b"no image", 415, "InvalidImageFormat"),
        (f"{V4}&features=tags", photo_bytes(1)[:-300], 400, "InvalidImageFormat"),
        (f"{V4}&features=tags,read", photo_bytes(1), 400, "NotSupportedFeature"),
        (f"{V4}&features=caption,objects", photo_bytes(1), 400, "NotSupportedFeature"),
        (f"{V4}", photo_bytes(1), 400, "invalid_request"),
        (f"{V32}?language=fr", photo_bytes(1), 400, "invalid_request"),
        (f"{V32}?model-version=2021-05-01", photo_bytes(1), 400, "invalid_request"),
        (V32, b"", 400, "InvalidImageFormat"),
    ],
)
def test_errors_have_azures_shape(
    address: str, data: bytes, status: int, inner: str, client: TestClient
) -> None:
    answer = client.post(address, content=data, headers=BYTES)
    assert answer.status_code == status
    error = answer.json()["error"]
    assert error["innererror"]["code"] == inner
    assert error["message"]
    assert error["code"]


def test_captions_have_azures_shape(client: TestClient) -> None:
    answer = client.post(f"{V4}&features=caption", content=photo_bytes(1), headers=BYTES).json()
    assert answer.keys() == {"captionResult", "metadata", "modelVersion"}
    assert len(answer["captionResult"]["text"].split()) > 3
    assert 0 < answer["captionResult"]["confidence"] < 1


@pytest.mark.parametrize("slash", ["", "/"])
def test_azures_own_client_reads_the_answers(port: int, slash: str) -> None:
    client = ImageAnalysisClient(
        f"http://127.0.0.1:{port}{slash}", AzureKeyCredential("any"), enforce_https=False
    )
    wanted = [VisualFeatures.TAGS, VisualFeatures.CAPTION]
    with client:
        found = client.analyze(photo_bytes(1), visual_features=wanted)
        assert found.tags is not None
        assert found.caption is not None
        assert all(0 < tag.confidence < 1 for tag in found.tags.list)
        assert len(found.caption.text.split()) > 3
        assert 0 < found.caption.confidence < 1
        assert (found.metadata.width, found.metadata.height) == (96, 64)
        with pytest.raises(HttpResponseError) as refused:
            client.analyze(photo_bytes(1), visual_features=[VisualFeatures.OBJECTS])
        assert refused.value.status_code == 400
        with pytest.raises(HttpResponseError) as broken:
            client.analyze(b"no image", visual_features=wanted)
    assert broken.value.error is not None
    assert broken.value.error.code == "InvalidRequest"


def test_urls_are_refused_unless_enabled(client: TestClient) -> None:
    answer = client.post(V32, json={"url": "http://127.0.0.1/a.jpg"})
    assert (answer.status_code, answer.json()["error"]["innererror"]["code"]) == (
        403,
        "InvalidImageUrl",
    )
    assert client.post(V32, json={"link": "x"}).status_code == 400


def test_the_key_is_azures_header(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAM_RAY_API_KEYS", "alice:alice-secret")
    with client_of(ServeConfig(device="cpu", access=AccessConfig())) as client:
        assert client.post(V32, content=b"", headers=BYTES).json()["error"]["code"] == "401"
        key = {"ocp-apim-subscription-key": "alice-secret"}
        assert client.post(V32, content=b"", headers=BYTES | key).status_code == 400


def test_analyze_3_2_gives_tags_and_refuses_the_rest_by_name(client: TestClient) -> None:
    address = "/vision/v3.2/analyze?visualFeatures="
    tag, analyze, refused = (
        client.post(where, content=photo_bytes(1), headers=BYTES)
        for where in (V32, f"{address}Tags", f"{address}Tags,Description")
    )
    assert analyze.status_code == 200
    assert analyze.json()["tags"] == tag.json()["tags"]
    assert analyze.json().keys() == tag.json().keys()
    assert refused.status_code == 400
    assert "Description" in refused.json()["error"]["message"]

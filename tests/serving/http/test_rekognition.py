"""An unmodified boto3 client of AWS Rekognition, over real HTTP."""

from collections.abc import Iterator
from typing import Any

import boto3
import botocore.exceptions
import numpy as np
import pytest
from botocore.config import Config
from fastapi import FastAPI
from fastapi.testclient import TestClient

from ram_model import Vocabulary
from ram_ray.serving.app import create_app
from ram_ray.serving.config import AccessConfig, ServeConfig, UrlConfig
from ram_ray.serving.http import rekognition
from ram_ray.serving.models.local_backend import LocalBackend
from tests.conftest import S3Server, photo_bytes
from tests.serving.conftest import http_server

JPEG = {"content-type": "image/jpeg"}


def boto(port: int, name: str = "any", secret: str = "thing", slash: str = "") -> Any:
    return boto3.client(
        "rekognition",
        endpoint_url=f"http://127.0.0.1:{port}{slash}",
        region_name="eu-central-1",
        aws_access_key_id=name,
        aws_secret_access_key=secret,
        config=Config(retries={"total_max_attempts": 1}),
    )


def test_labels_are_the_tags_of_our_own_route(app: FastAPI, port: int, client: TestClient) -> None:
    del app
    answer = boto(port).detect_labels(
        Image={"Bytes": photo_bytes(1)}, MaxLabels=5, MinConfidence=10.0
    )
    own = client.post("/v1/tag?threshold=0.1&top_k=5", content=photo_bytes(1), headers=JPEG).json()
    assert [(label["Name"], label["Confidence"]) for label in answer["Labels"]] == [
        (rekognition._title(tag["name"]), pytest.approx(tag["score"] * 100, abs=0.01))
        for tag in own["images"][0]["tags"]
    ]
    assert answer["Labels"][0]["Categories"] == [
        {"Name": own["images"][0]["tags"][0]["kind"].capitalize()}
    ]
    assert answer["LabelModelVersion"].startswith("ram-mini ")
    assert answer["ResponseMetadata"]["RequestId"]


def test_without_min_confidence_the_models_thresholds_decide(port: int, client: TestClient) -> None:
    answer = boto(port).detect_labels(Image={"Bytes": photo_bytes(1)})
    own = client.post("/v1/tag", content=photo_bytes(1), headers=JPEG).json()
    names = [rekognition._title(tag["name"]) for tag in own["images"][0]["tags"]]
    assert [label["Name"] for label in answer["Labels"]] == names


def test_filters(port: int) -> None:
    def names(**filters: list[str]) -> list[str]:
        answer = boto(port).detect_labels(
            Image={"Bytes": photo_bytes(1)},
            MinConfidence=0.0,
            Features=["GENERAL_LABELS"],
            Settings={"GeneralLabels": filters},
        )
        return [label["Name"] for label in answer["Labels"]]

    everything = names()
    assert len(everything) > 200
    assert names(LabelInclusionFilters=["Dog", "hippogriff"]) == ["Dog"]
    assert names(LabelInclusionFilters=["dog"]) == ["Dog"]
    assert "Dog" not in names(LabelExclusionFilters=["DOG"])
    scenes = names(LabelCategoryInclusionFilters=["Scene"])
    assert 0 < len(scenes) < len(everything)
    assert names(LabelCategoryInclusionFilters=["scene"]) == scenes


def test_labels_are_found_by_their_aliases() -> None:
    filters = rekognition._GeneralLabels(LabelInclusionFilters=["Automobile"])
    assert filters.lets_in(("car", "automobile"), "object")
    assert not filters.lets_in(("bus",), "object")
    assert rekognition._title("ice cream TV") == "Ice Cream TV"


@pytest.mark.parametrize(
    ("call", "exception"),
    [
        ({"Image": {"Bytes": b"no image"}}, "InvalidImageFormatException"),
        ({"Image": {"S3Object": {"Bucket": "abc", "Name": "b"}}}, "InvalidS3ObjectException"),
        ({"Image": {}}, "InvalidParameterException"),
        (
            {
                "Image": {"Bytes": photo_bytes(1)},
                "Settings": {"GeneralLabels": {"LabelCategoryInclusionFilters": ["Nothing"]}},
            },
            "InvalidParameterException",
        ),
        (
            {"Image": {"Bytes": photo_bytes(1)}, "Features": ["IMAGE_PROPERTIES"]},
            "InvalidParameterException",
        ),
    ],
)
def test_errors_are_the_exceptions_of_boto3(
    call: dict[str, Any], exception: str, port: int
) -> None:
    rekognition_client = boto(port)
    with pytest.raises(getattr(rekognition_client.exceptions, exception)):
        rekognition_client.detect_labels(**call)


def test_other_operations_are_refused(port: int) -> None:
    with pytest.raises(botocore.exceptions.ClientError) as refused:
        boto(port).list_collections()
    assert refused.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    assert refused.value.response["Error"]["Code"] == "UnknownOperationException"


def test_a_slash_more_at_the_endpoint_is_no_matter(port: int) -> None:
    assert boto(port, slash="/").detect_labels(Image={"Bytes": photo_bytes(1)})["Labels"]


def test_objects_of_named_buckets_are_read(s3: S3Server, port: int) -> None:
    photo = photo_bytes(1)
    s3.bucket("door-open", {"a b/c#1?.jpg": photo, "text.jpg": b"no image"})
    s3.bucket("door-closed", {"a.jpg": photo})
    urls = UrlConfig(buckets=("door-open",), store=s3.config)
    config = ServeConfig(device="cpu", urls=urls)

    def ask(client: Any, bucket: str, key: str) -> list[dict[str, Any]]:
        image = {"S3Object": {"Bucket": bucket, "Name": key}}
        return client.detect_labels(Image=image)["Labels"]

    with http_server(create_app(config, LocalBackend(config))) as other:
        reader = boto(other)
        expected = boto(port).detect_labels(Image={"Bytes": photo})["Labels"]
        assert ask(reader, "door-open", "a b/c#1?.jpg") == expected
        for bucket, key in (("door-closed", "a.jpg"), ("door-open", "absent.jpg")):
            with pytest.raises(reader.exceptions.InvalidS3ObjectException):
                ask(reader, bucket, key)
        with pytest.raises(reader.exceptions.InvalidImageFormatException):
            ask(reader, "door-open", "text.jpg")


@pytest.fixture(scope="module")
def keyed_port(tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    """Return the port of a server that wants keys."""
    keys = tmp_path_factory.mktemp("keys") / "keys"
    keys.write_text("alice:alice-secret\nbob:bob-secret\n")
    config = ServeConfig(device="cpu", access=AccessConfig(api_keys_file=str(keys)))
    with http_server(create_app(config, LocalBackend(config))) as port:
        yield port


def test_the_signature_is_the_key(keyed_port: int) -> None:
    image = {"Bytes": photo_bytes(1)}
    answer = boto(keyed_port, "alice", "alice-secret").detect_labels(Image=image)
    assert "Labels" in answer
    for name, secret in (("alice", "bob-secret"), ("carol", "alice-secret"), ("any", "thing")):
        wrong = boto(keyed_port, name, secret)
        with pytest.raises(wrong.exceptions.AccessDeniedException):
            wrong.detect_labels(Image=image)


def test_ancestors_are_parents_nearest_first() -> None:
    vocabulary = Vocabulary(
        names=("poodle", "dog", "animal", "loop"),
        parents=((1,), (2,), (), (3,)),
        thresholds=np.full(4, 0.5, np.float32),
    )
    assert rekognition._ancestors(vocabulary, 0) == ["dog", "animal"]
    assert rekognition._ancestors(vocabulary, 3) == []

"""POST /v1/tag: three ways to send images, options, and one answer for all of them."""

import base64
import io
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from fastapi.testclient import TestClient
from PIL import Image

from ram_model import Tagger, open_model
from ram_ray.config import DecodeConfig
from ram_ray.images.decoder import decode
from ram_ray.serving.config import ServeConfig
from tests.conftest import photo_bytes
from tests.serving.conftest import client_of

JPEG = {"content-type": "image/jpeg"}


def files(*seeds: int) -> list[tuple[str, tuple[str, bytes]]]:
    return [("files", (f"{seed}.jpg", photo_bytes(seed))) for seed in seeds]


def encoded(seed: int) -> str:
    return base64.b64encode(photo_bytes(seed)).decode()


def test_the_three_ways_give_the_same_tags(client: TestClient) -> None:
    raw = client.post("/v1/tag?score_floor=0.05", content=photo_bytes(1), headers=JPEG)
    form = client.post("/v1/tag", files=files(1), data={"score_floor": "0.05"})
    body = {"images": [{"name": "1.jpg", "data": encoded(1)}], "score_floor": 0.05}
    as_json = client.post("/v1/tag", json=body)
    assert [r.status_code for r in (raw, form, as_json)] == [200, 200, 200]
    found = [response.json()["images"][0]["tags"] for response in (raw, form, as_json)]
    assert len(found[0]) > 3
    assert found[0] == found[1] == found[2]
    assert form.json()["images"][0]["name"] == as_json.json()["images"][0]["name"] == "1.jpg"
    assert raw.json()["images"][0]["name"] is None


def test_answer_says_what_decided_it(client: TestClient) -> None:
    answer = client.post("/v1/tag", content=photo_bytes(1), headers=JPEG)
    opened = open_model("ram-mini", captions=True)
    assert answer.json()["model"] == {
        "id": "ram-mini",
        "weights_sha256": opened.weights_sha256,
        "vocabulary_sha256": opened.vocabulary.sha256,
        "thresholds_sha256": opened.vocabulary.thresholds_sha256,
        "captions_sha256": opened.captions_sha256,
    }
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    image = answer.json()["images"][0]
    assert (image["width"], image["height"]) == (96, 64)


def test_concurrent_requests_give_the_scores_of_batch_tagging(client: TestClient) -> None:
    """Also of requests with other options, and whatever shares their batch."""
    seeds = range(24)
    config = DecodeConfig()
    tagger = Tagger.load("ram-mini", score_floor=0.0, batch_size=1)
    pixels = [decode(photo_bytes(seed), tagger.image_size_px, config).pixels for seed in seeds]
    expected = [tagger(image[None])[0] for image in pixels]

    def ask(seed: int) -> list[tuple[int, float]]:
        floor = "0" if seed % 2 else "0.3"
        address = f"/v1/tag?score_floor={floor}"
        answer = client.post(address, content=photo_bytes(seed), headers=JPEG).json()
        return [(tag["id"], tag["score"]) for tag in answer["images"][0]["tags"]]

    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(ask, seeds))
    thresholds = open_model("ram-mini").vocabulary.thresholds
    for seed, answer in zip(seeds, answers, strict=True):
        wanted = expected[seed]
        keep = (wanted.scores >= (0.0 if seed % 2 else 0.3)) | (
            wanted.scores > thresholds[wanted.tag_ids]
        )
        scores = dict(zip(wanted.tag_ids[keep].tolist(), wanted.scores[keep], strict=True))
        assert dict(answer).keys() == scores.keys()
        assert dict(answer) == pytest.approx(scores, abs=1e-5)
        assert [score for _, score in answer] == sorted((s for _, s in answer), reverse=True)


def test_options_pick_the_tags(client: TestClient) -> None:
    everything = client.post("/v1/tag?score_floor=0", content=photo_bytes(2), headers=JPEG).json()
    tags = everything["images"][0]["tags"]
    by_name = {tag["name"]: tag for tag in tags}

    top = client.post("/v1/tag?score_floor=0&top_k=3", content=photo_bytes(2), headers=JPEG)
    assert top.json()["images"][0]["tags"] == tags[:3]

    chosen = {"tags": ["dog", "man"], "score_floor": 0, "images": [{"data": encoded(2)}]}
    some = client.post("/v1/tag", json=chosen).json()["images"][0]["tags"]
    assert {tag["name"]: tag["score"] for tag in some} == pytest.approx(
        {name: by_name[name]["score"] for name in ("dog", "man")}, abs=1e-6
    )

    middle = (tags[4]["score"] + tags[5]["score"]) / 2
    over = client.post(f"/v1/tag?threshold={middle}", content=photo_bytes(2), headers=JPEG)
    assert [tag["id"] for tag in over.json()["images"][0]["tags"]] == [t["id"] for t in tags[:5]]

    one = {"thresholds": {tags[7]["name"]: 0.0}, "threshold": 1.0, "images": [{"data": encoded(2)}]}
    only = client.post("/v1/tag", json=one).json()["images"][0]["tags"]
    assert [(tag["id"], tag["threshold"], tag["above_threshold"]) for tag in only] == [
        (tags[7]["id"], 0.0, True)
    ]


def test_one_bad_image_among_several_is_its_own_error(client: TestClient) -> None:
    sent = [*files(1), ("files", ("notes.txt", b"no image")), *files(2)]
    answer = client.post("/v1/tag", files=sent)
    assert answer.status_code == 200
    codes = [image["error"] and image["error"]["code"] for image in answer.json()["images"]]
    assert codes == [None, "not_an_image", None]
    assert [image["name"] for image in answer.json()["images"]] == ["1.jpg", "notes.txt", "2.jpg"]


def image_file(size: tuple[int, int], kind: str) -> bytes:
    out = io.BytesIO()
    Image.new("RGB", size).save(out, kind)
    return out.getvalue()


@pytest.mark.parametrize(
    ("data", "status", "code"),
    [
        (b"", 400, "empty"),
        (b"no image", 415, "not_an_image"),
        (photo_bytes(1)[:-300], 422, "truncated"),
        (b"%PDF-1.7", 415, "not_an_image"),
        (image_file((12_000, 9_000), "PNG"), 413, "too_large"),
    ],
)
def test_a_single_bad_image_is_the_status(
    data: bytes, status: int, code: str, client: TestClient
) -> None:
    answer = client.post("/v1/tag", content=data, headers=JPEG)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize(
    ("query", "status", "code", "field"),
    [
        ("boxes=true", 422, "unsupported_option", "boxes"),
        ("model=gpt", 404, "unknown_model", None),
        ("threshold=2", 422, "invalid_request", "query.threshold"),
        ("top_k=0", 422, "invalid_request", "query.top_k"),
        ("thresold=0.5", 422, "invalid_request", "query.thresold"),
    ],
)
def test_options_that_cannot_be_met_are_refused(
    query: str, status: int, code: str, field: str | None, client: TestClient
) -> None:
    answer = client.post(f"/v1/tag?{query}", content=photo_bytes(1), headers=JPEG)
    error = answer.json()["error"]
    assert (answer.status_code, error["code"]) == (status, code)
    assert [detail["field"] for detail in error["details"]] == ([field] if field else [])


def test_the_bundled_model_takes_new_words_and_writes_captions(client: TestClient) -> None:
    query = "tags=dog&tags=hippogriff&score_floor=0&caption=true"
    found = client.post(f"/v1/tag?{query}", content=photo_bytes(1), headers=JPEG).json()
    (image,) = found["images"]
    assert {tag["name"] for tag in image["tags"]} == {"dog", "hippogriff"}
    assert len(image["caption"].split()) > 3
    assert any("hippogriff" in note for note in found["notes"])


def test_thresholds_of_unknown_tags_are_refused(client: TestClient) -> None:
    body = {"thresholds": {"hippogriff": 0.5}, "images": [{"data": encoded(1)}]}
    assert client.post("/v1/tag", json=body).json()["error"]["code"] == "unknown_tags"


def test_thresholds_of_the_server_replace_the_models_own() -> None:
    config = ServeConfig(device="cpu", thresholds=("dog=0.0",))
    with client_of(config) as client:
        answer = client.post("/v1/tag", content=photo_bytes(1), headers=JPEG).json()
    assert "dog" in [tag["name"] for tag in answer["images"][0]["tags"]]
    own = open_model("ram-mini").vocabulary
    assert answer["model"]["thresholds_sha256"] != own.thresholds_sha256
    assert answer["model"]["vocabulary_sha256"] == own.sha256


def test_tags_with_commas_in_the_address_and_in_a_form(client: TestClient) -> None:
    def names(answer: Any) -> set[str]:
        assert answer.status_code == 200, answer.text
        return {tag["name"] for tag in answer.json()["images"][0]["tags"]}

    address = "/v1/tag?score_floor=0"
    found = [
        client.post(f"{address}&tags=dog,cat", content=photo_bytes(1), headers=JPEG),
        client.post(f"{address}&tags=dog&tags=cat", content=photo_bytes(1), headers=JPEG),
        client.post(address, files=files(1), data={"tags": "dog, cat"}),
    ]
    assert [names(answer) for answer in found] == [{"dog", "cat"}] * 3


@pytest.mark.parametrize(
    "text",
    [
        "data:image/jpeg;base64," + encoded(1),
        "DATA:;base64," + encoded(1),
        base64.encodebytes(photo_bytes(1)).decode(),
        base64.encodebytes(photo_bytes(1)).decode().replace("\n", "\r\n"),
    ],
)
def test_base64_as_browsers_and_the_command_write_it(text: str, client: TestClient) -> None:
    found = [client.post("/v1/tag", json={"images": [{"data": t}]}) for t in (text, encoded(1))]
    assert [answer.status_code for answer in found] == [200, 200]
    assert found[0].json()["images"] == found[1].json()["images"]


def test_a_data_url_that_is_not_base64_is_refused(client: TestClient) -> None:
    answer = client.post("/v1/tag", json={"images": [{"data": "data:image/svg+xml,<svg/>"}]})
    assert answer.status_code == 422
    assert "data URL that is not base64" in answer.text


@pytest.mark.parametrize("headers", ['name="files"', 'name="x"\r\nContent-Type: image/jpeg'])
def test_a_file_part_without_a_file_name_is_an_image(headers: str, client: TestClient) -> None:
    photo = photo_bytes(1) + bytes(20_000)  # more than a text field may hold
    start = f"--edge\r\nContent-Disposition: form-data; {headers}\r\n\r\n".encode()
    answer = client.post(
        "/v1/tag",
        content=start + photo + b"\r\n--edge--\r\n",
        headers={"content-type": "multipart/form-data; boundary=edge"},
    )
    assert answer.status_code == 200, answer.text
    assert answer.json()["images"][0]["width"] == 96

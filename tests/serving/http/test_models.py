"""Models, vocabulary search, health."""

import numpy as np
import pytest
from fastapi.testclient import TestClient

from ram_model import Vocabulary, open_model
from ram_model.vocabulary import OFF
from ram_ray.serving.http.models import search


def test_models_and_limits(client: TestClient) -> None:
    answer = client.get("/v1/models").json()
    (model,) = answer["models"]
    shown = int((open_model("ram-mini").vocabulary.thresholds < OFF).sum())
    assert (model["id"], model["default"], model["num_tags"]) == ("ram-mini", True, shown)
    assert model["capabilities"] == {"open_set": True, "caption": True, "boxes": False}
    assert answer["limits"]["max_images_per_request"] == 32
    assert answer["limits"]["url_input"] is False


def test_search_puts_whole_names_before_beginnings_before_parts() -> None:
    vocabulary = Vocabulary(
        names=("hot dog", "dogma", "Dog", "cat", "puppy"),
        names_zh=("热狗", "教条", "狗 ", "猫", "小狗"),
        aliases=((), (), (), ("doggerel",), ("dog",)),
        thresholds=np.full(5, 0.5, np.float32),
    )
    assert search(vocabulary, " DOG ") == [2, 4, 1, 3, 0]
    assert search(vocabulary, "狗") == [2, 0, 4]
    assert search(vocabulary, "zebra") == []
    assert search(vocabulary, "") == [0, 1, 2, 3, 4]


def test_tags_come_in_pages(client: TestClient) -> None:
    vocabulary = open_model("ram-mini").vocabulary
    shown = int((vocabulary.thresholds < OFF).sum())
    first = client.get("/v1/tags?limit=100").json()
    last = client.get(f"/v1/tags?limit=100&offset={shown - 28}").json()
    assert (first["total"], len(first["tags"]), len(last["tags"])) == (shown, 100, 28)
    ids = [tag["id"] for tag in last["tags"]]
    assert ids == sorted(ids)
    assert not [tag for tag in first["tags"] + last["tags"] if tag["threshold"] == 1.0]
    assert client.get("/v1/tags?query=overlooking").json()["tags"] == []  # learned, and never shown
    dog = client.get("/v1/tags?query=dog").json()["tags"][0]
    threshold = vocabulary.thresholds[vocabulary.find("dog")[0]]
    assert (dog["name"], dog["threshold"]) == ("dog", pytest.approx(threshold))


def test_unknown_things_are_404(client: TestClient) -> None:
    assert client.get("/v1/tags?model=gpt").json()["error"]["code"] == "unknown_model"
    assert client.get("/nowhere").json()["error"]["code"] == "no_such_resource"
    answer = client.delete("/v1/tag")
    assert (answer.status_code, answer.json()["error"]["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "POST"


def test_ready_once_the_models_are_loaded(client: TestClient) -> None:
    assert client.get("/healthz").json() == {"status": "ok"}
    assert client.get("/readyz").json() == {"ready": True, "reason": ""}

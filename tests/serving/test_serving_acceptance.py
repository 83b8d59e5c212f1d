"""Real photos and hostile files through the API."""

from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from fastapi.testclient import TestClient

from ram_model import Tagger
from ram_ray.config import DecodeConfig
from ram_ray.errors import ImageErrorCode
from ram_ray.images.decoder import Decoder
from ram_ray.serving.config import LimitConfig, ServeConfig
from ram_ray.serving.problems import STATUS
from tests.serving.conftest import client_of
from tests.stand_ins import verdicts_of

pytestmark = pytest.mark.slow

BYTES = {"content-type": "application/octet-stream"}
FLOOR = 0.05


@pytest.fixture(scope="module")
def photos(real_photos: Path) -> list[bytes]:
    paths = sorted(real_photos.rglob("*.*"))
    found = [path.read_bytes() for path in paths if path.suffix != ".tsv"]
    assert len(found) > 50
    return found


@pytest.fixture(scope="module")
def batch_tags(photos: list[bytes]) -> list[dict[int, float]]:
    """Return what batch tagging says: the same decoder, the same Tagger, in its fixed batch."""
    tagger = Tagger.load("ram-mini", score_floor=FLOOR, batch_size=16)
    found: list[dict[int, float]] = []
    with Decoder(tagger.image_size_px, DecodeConfig()) as decoder:
        for start in range(0, len(photos), 16):
            pixels = [decoder.decode(data).pixels for data in photos[start : start + 16]]
            found += [
                dict(zip(tags.tag_ids.tolist(), tags.scores.tolist(), strict=True))
                for tags in tagger(np.stack(pixels))
            ]
    return found


def serving(batch_size: int) -> ServeConfig:
    limits = LimitConfig(max_pending_images=1_000)
    return ServeConfig(device="cpu", batch_size=batch_size, limits=limits)


@pytest.mark.parametrize("batch_size", [1, 3, 32])
def test_photos_get_the_tags_of_batch(
    batch_size: int, photos: list[bytes], batch_tags: list[dict[int, float]]
) -> None:
    with client_of(serving(batch_size)) as client, ThreadPoolExecutor(32) as pool:

        def ask(data: bytes) -> dict[int, float]:
            answer = client.post(f"/v1/tag?score_floor={FLOOR}", content=data, headers=BYTES)
            assert answer.status_code == 200, answer.text
            tags = answer.json()["images"][0]["tags"]
            return {tag["id"]: tag["score"] for tag in tags}

        answers = list(pool.map(ask, photos))
    for answer, expected in zip(answers, batch_tags, strict=True):
        near = {tag for tag, score in {**expected, **answer}.items() if abs(score - FLOOR) < 1e-5}
        assert answer.keys() - near == expected.keys() - near
        both = answer.keys() & expected.keys()
        assert [answer[tag] for tag in both] == pytest.approx(
            [expected[tag] for tag in both], abs=1e-5
        )


@pytest.fixture(scope="module")
def hostile_client() -> Iterator[TestClient]:
    with client_of(serving(8)) as client:
        yield client


def test_hostile_files_are_all_answered(hostile_files: Path, hostile_client: TestClient) -> None:
    folder = hostile_files
    verdicts = verdicts_of(folder)
    outcomes: Counter[str] = Counter()
    for path, verdict in verdicts.items():
        data = (folder / path).read_bytes()
        answer = hostile_client.post("/v1/tag", content=data, headers=BYTES)
        body: dict[str, Any] = answer.json()
        if verdict == "decode":
            assert (answer.status_code, body.get("error")) == (200, None), path
        else:
            code = body["error"]["code"]
            assert answer.status_code == STATUS[ImageErrorCode(code)], path
            assert 400 <= answer.status_code < 500, path
        outcomes[verdict] += 1
    assert outcomes.total() == len(verdicts) > 100
    # the server is as well as before
    assert hostile_client.get("/readyz").status_code == 200

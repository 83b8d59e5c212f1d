"""One request, one version of a model, also while it is being replaced."""

import asyncio
import dataclasses

import numpy as np
import pytest

from ram_ray.serving.api import ModelVersion
from ram_ray.serving.config import ServeConfig
from ram_ray.serving.context import ServingContext
from ram_ray.serving.guard.access import Access
from ram_ray.serving.guard.admission import Admission
from ram_ray.serving.guard.decoding import DecoderPool
from ram_ray.serving.guard.url_input import UrlFetcher
from ram_ray.serving.http.tagging import SentImage, TaggedRequest, tag_images
from ram_ray.serving.jobs.job_progress import ProgressReader
from ram_ray.serving.jobs.ray_jobs import RayJobs
from ram_ray.serving.metrics import Metrics
from ram_ray.serving.models.backend import ImageSizeError, ModelCard, Prediction, Selection
from ram_ray.serving.models.local_backend import LocalBackend
from ram_ray.serving.problems import Problem
from tests.conftest import photo_bytes

CONFIG = ServeConfig(device="cpu")


class ChangingBackend:
    """Models in this process whose answers are made to look like those of a changing fleet."""

    def __init__(self, versions: list[str], size_px: int | None = None) -> None:
        self._inner = LocalBackend(CONFIG)
        self._versions = iter(versions)
        self.size_px = size_px
        self.seen_sizes: list[int] = []
        self.reason = ""
        self.start, self.close = self._inner.start, self._inner.close

    async def card(self, model: str) -> ModelCard:
        card = await self._inner.card(model)
        version = card.info.version.model_copy(update={"weights_sha256": "old"})
        info = card.info.model_copy(
            update={"version": version, "image_size_px": self.size_px or card.info.image_size_px}
        )
        return ModelCard(info=info, vocabulary=card.vocabulary)

    async def tag(
        self, model: str, pixels: np.ndarray, selection: Selection, deadline: float
    ) -> Prediction:
        self.seen_sizes.append(len(pixels))
        if self.size_px and len(pixels) == self.size_px:
            raise ImageSizeError(192)
        found = await self._inner.tag(model, pixels, selection, deadline)
        version = found.version.model_copy(update={"weights_sha256": next(self._versions)})
        return dataclasses.replace(found, version=version)

    async def not_ready_reason(self) -> str:
        return self.reason


def ask(backend: ChangingBackend, *seeds: int) -> TaggedRequest:
    async def run() -> TaggedRequest:
        await backend.start()
        admission = Admission(CONFIG.limits)
        context = ServingContext(
            config=CONFIG,
            backend=backend,
            access=Access(CONFIG, {}),
            admission=admission,
            decoders=DecoderPool(1, CONFIG.decode),
            urls=UrlFetcher(CONFIG.urls, admission, 1),
            jobs=RayJobs(CONFIG.jobs),
            progress=ProgressReader(CONFIG.jobs.store),
            metrics=Metrics(),
        )
        images = [SentImage(data=photo_bytes(seed)) for seed in seeds]
        try:
            return await tag_images(context, "me", images, model=None, selection=Selection())
        finally:
            context.decoders.close()
            await backend.close()

    return asyncio.run(run())


def versions_of(tagged: TaggedRequest) -> list[str]:
    return [image.prediction.version.weights_sha256 for image in tagged.images if image.prediction]


def test_a_mix_of_versions_is_redone_with_the_new_one() -> None:
    # three images; the old ones are asked again, and one of them meets an old process once more
    backend = ChangingBackend(["old", "new", "old", "old", "new", "new"])
    tagged = ask(backend, 1, 2, 3)
    assert versions_of(tagged) == ["new", "new", "new"]
    assert tagged.version.weights_sha256 == "new"
    assert len(backend.seen_sizes) == 6


def test_one_version_is_not_redone() -> None:
    backend = ChangingBackend(["new", "new", "new"])
    assert versions_of(ask(backend, 1, 2, 3)) == ["new"] * 3
    assert len(backend.seen_sizes) == 3


def test_a_new_input_size_is_decoded_anew() -> None:
    backend = ChangingBackend(["new"], size_px=224)
    assert versions_of(ask(backend, 1)) == ["new"]
    assert backend.seen_sizes == [224, 192]


def test_a_moment_without_a_model_process_is_waited_out() -> None:
    class Returning(ChangingBackend):
        asked = 0

        async def not_ready_reason(self) -> str:
            self.asked += 1
            return "No model process is up." if self.asked < 4 else ""

    backend = Returning(["new"])
    assert versions_of(ask(backend, 1)) == ["new"]
    assert backend.asked == 4


def test_nothing_is_tagged_while_no_model_is_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ram_ray.serving.http.tagging._READY_WAIT_S", 0.1)
    backend = ChangingBackend([])
    backend.reason = "No model process is up."
    with pytest.raises(Problem) as refused:
        ask(backend, 1)
    assert (refused.value.code, refused.value.status_code) == ("not_ready", 503)
    assert refused.value.headers == {"Retry-After": "2"}
    assert backend.seen_sizes == []


def test_versions_are_compared_by_everything_that_decides() -> None:
    first = {"id": "m", "weights_sha256": "w", "vocabulary_sha256": "v", "thresholds_sha256": "t"}
    first["captions_sha256"] = "c"
    for name in first:
        assert ModelVersion(**first) != ModelVersion(**first | {name: "other"})
    assert first.keys() == set(ModelVersion.model_fields)

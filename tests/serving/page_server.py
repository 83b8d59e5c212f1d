"""What tests of the page share: the real app over HTTP, in a thread of this process."""

import dataclasses
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, ClassVar

import numpy as np
import uvicorn

from ram_ray.serving.app import create_app
from ram_ray.serving.config import ServeConfig
from ram_ray.serving.models.backend import ModelCard, Prediction, Selection
from ram_ray.serving.models.local_backend import LocalBackend


class WithPlaces(LocalBackend):
    """The real models, said to give captions and boxes, which no model of this size does."""

    caption = "a cup of coffee"
    captions_asked: ClassVar[list[bool]] = []
    box = (0.25, 0.1, 0.5, 0.8)
    """Left, top, width, height of the best tag's box."""

    async def card(self, model: str) -> ModelCard:
        """Return the card with both capabilities."""
        card = await super().card(model)
        able = card.info.capabilities.model_copy(update={"caption": True, "boxes": True})
        return dataclasses.replace(card, info=card.info.model_copy(update={"capabilities": able}))

    async def tag(
        self, model: str, pixels: np.ndarray, selection: Selection, deadline: float
    ) -> Prediction:
        """Return the real tags, a caption, and a box of the best one."""
        self.captions_asked.append(selection.caption)
        plain = dataclasses.replace(selection, caption=False, boxes=False)
        prediction = await super().tag(model, pixels, plain, deadline)
        left, top, width, height = self.box
        box: dict[str, Any] = {
            "tag_id": int(prediction.tag_ids[0]), "left": left, "top": top,
            "width": width, "height": height, "score": 0.9,
        }  # fmt: skip
        caption = self.caption if selection.caption else None
        return dataclasses.replace(prediction, caption=caption, boxes=[box])


@contextmanager
def serving(config: ServeConfig, backend: type[LocalBackend] = LocalBackend) -> Iterator[str]:
    """Yield the address of the app on a free port of the loopback interface."""
    app = create_app(config, backend(config))
    server = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        while not server.started:
            if not thread.is_alive():
                raise RuntimeError("the server did not start")
            time.sleep(0.02)
        port = server.servers[0].sockets[0].getsockname()[1]
        yield f"http://127.0.0.1:{port}/"
    finally:
        server.should_exit = True
        thread.join(timeout=30)

"""The least that could be done: FastAPI, the same decoder, the same model and batching, no Ray.

What `benchmarks/serving.py` compares with: no limits, keys, request ids, types, retries, updates.
"""

import sys
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request

from ram_ray.serving.config import ServeConfig
from ram_ray.serving.guard.decoding import DecoderPool
from ram_ray.serving.models.backend import Prediction, Selection
from ram_ray.serving.models.loaded_model import LoadedModel


def bare_app(config: ServeConfig) -> FastAPI:
    """Return the application."""
    model = LoadedModel(config.models[0], config, ThreadPoolExecutor(1))
    decoders = DecoderPool(config.replicas.num_decoders, config.decode)

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        del app
        yield
        decoders.close()

    app = FastAPI(lifespan=lifespan)

    @app.post("/v1/tag")
    async def tag(request: Request, score_floor: float) -> dict[str, Any]:
        decoded = await decoders.decode(await request.body(), model.card.info.image_size_px)
        found = await model.tag(decoded.pixels, Selection(score_floor=score_floor))
        if not isinstance(found, Prediction):
            raise TypeError(f"no prediction: {found!r}")
        rows = zip(found.tag_ids.tolist(), found.names, found.scores.tolist(), strict=True)
        tags = [{"id": tag_id, "name": name, "score": score} for tag_id, name, score in rows]
        return {"images": [{"tags": tags}]}

    return app


if __name__ == "__main__":
    port, batch_size = int(sys.argv[1]), int(sys.argv[2])
    served = ServeConfig(device="cpu", threads=1, batch_size=batch_size)
    uvicorn.run(bare_app(served), host="127.0.0.1", port=port, log_level="error")

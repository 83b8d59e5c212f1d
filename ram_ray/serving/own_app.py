"""The tagger as a deployment inside a Serve app of your own.

    @serve.deployment
    class Albums:
        def __init__(self, tagger):
            self._tagger = tagger

        async def __call__(self, request):
            return await self._tagger.tag.remote(await request.body())

    serve.run(Albums.bind(rr.tagger_app("ram-mini", num_replicas=2)))

Limits, keys and dialects belong to `ram-ray serve`; this is decoding, batching and the model.
"""

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from ram_ray.errors import ConfigError, ImageError
from ram_ray.serving.config import ServeConfig
from ram_ray.serving.guard.decoding import DecoderPool
from ram_ray.serving.models.backend import Failure, Prediction, Selection
from ram_ray.serving.models.loaded_model import LoadedModel

if TYPE_CHECKING:
    from ray.serve import Application


class PhotoTagger:
    """One process with one model; concurrent calls go to the model together."""

    def __init__(self, config: ServeConfig) -> None:
        self._decoders = DecoderPool(1, config.decode)
        executor = ThreadPoolExecutor(1, thread_name_prefix="model")
        self._model = LoadedModel(config.models[0], config, executor)

    async def tag(self, data: bytes, **selection: Any) -> dict[str, Any]:
        """Return `tags`, `tag_ids`, `scores`, or `error_code` and `message`.

        Args:
            data: of an image file.
            selection: `tags`, `threshold`, `score_floor`, `caption`, ...
                (`ram_ray.serving.models.backend.Selection`).
        """
        try:
            image = await self._decoders.decode(data, self._model.card.info.image_size_px)
        except ImageError as error:
            return {"error_code": error.code.value, "message": error.message}
        found = await self._model.tag(image.pixels, Selection(**selection))
        if isinstance(found, Failure):
            return {"error_code": found.code.value, "message": found.message}
        assert isinstance(found, Prediction), "decoded to the model's own size"
        answer = {
            "tags": found.names,
            "tag_ids": found.tag_ids.tolist(),
            "scores": found.scores.tolist(),
        }
        return answer | ({"caption": found.caption} if found.caption is not None else {})

    def close(self) -> None:
        """End the decoder's process; Serve just ends the whole worker."""
        self._decoders.close()


def tagger_app(
    model: str = "ram-mini", *, options: dict[str, Any] | None = None, **settings: Any
) -> "Application":
    """Return the tagger, bound, to pass to `bind` of your own deployment.

    Args:
        model: name or folder.
        options: of Serve's deployment, such as num_replicas, ray_actor_options,
            autoscaling_config.
        settings: fields of `ram_ray.ServeConfig`: device, precision, batch_size, thresholds, ...

    Raises:
        ConfigError: a setting is wrong.
    """
    from ray import serve

    if "models" in settings:
        raise ConfigError(f"models is {settings['models']!r}, but the app has one: say model.")
    config = ServeConfig(models=(model,), **settings)
    deployment: Any = serve.deployment(PhotoTagger)
    return deployment.options(name="tagger", **(options or {})).bind(config)
